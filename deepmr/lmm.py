"""Linear mixed models as a user of Hail knows them."""
