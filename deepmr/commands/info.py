"""`deepmr info`: what an effects file holds."""

from pathlib import Path

from deepmr.io.effects import open_effects


def info(effects: Path) -> dict[str, object]:
    """Show what an effects file holds.

    Parameters
    ----------
    effects
        Effects file of `deepmr ism`.

    Returns
    -------
    dict
        Counts, tasks, members and how the file was made.

    Raises
    ------
    InputError
        When the file is missing, truncated, or of another format or version.
    IncompleteError
        When it points to shards that are missing.
    """
    with open_effects(effects) as file:
        made = (
            "engine",
            "engine_report",
            "strands",
            "precision",
            "device",
            "batch_size",
            "threads",
            "seconds",
            "deepmr_version",
            "created_utc",
        )
        return {
            "file": str(effects),
            "format_version": file.attrs["format_version"],
            "layout": file.layout,
            "self_contained": not file.virtual,
            "loci": len(file.sequences),
            "length": file.sequences.length,
            "masked_positions": file.n_masked,
            **({"edited_positions": int(file.mask.sum())} if file.restricted else {}),
            "variants": file.n_variants,
            **{name: file.attrs[name] for name in made if name in file.attrs},
            "tasks": [{"task": task.name, "scale": task.scale} for task in file.tasks],
            "members": [
                {
                    "member": member["name"],
                    "seed": "unknown" if member["seed"] < 0 else member["seed"],
                    "held_out": member["held_out"] or "-",
                    "sha256": member["sha256"][:12],
                }
                for member in file.members.to_dict("records")
            ],
        }
