"""`capetune promote`: the best configuration of a search on every split and seed, scored officially."""

from __future__ import annotations

from pathlib import Path

import typer

from capetune.cli import common
from capetune.errors import UserError


def command(
    name: str = typer.Argument(..., help="The search whose best configuration is promoted."),
    splits: str = typer.Option("1-5", "--splits", help="Such as 1-5, or 1,3."),
    shots: str = typer.Option("1,5", "--shots", help="Supports an episode, such as 1,5."),
    seeds: int = typer.Option(3, "--seeds", min=1, help="Trainings a split."),
    rank: int = common.Rank,
    settings: list[str] = common.Settings,
    data: str | None = typer.Option(None, "--data", metavar="PACK", help="Default: the search's data."),
    workers: int = typer.Option(1, "--workers", min=1, help="Training workers (DDP) each job has."),
    episodes: int | None = typer.Option(None, "--episodes", min=1, help="Episodes a category; default: official, 200."),
    queries: int = typer.Option(15, "--queries", min=1, help="Queries an episode; 15 is official."),
    runs: Path = common.Runs,
    address: str | None = common.Address,
    verbose: bool = common.Verbose,
) -> None:
    """Train the best configuration on every split with every seed, and score each on its split's test categories.

    Each split and seed is a job in runs/NAME-promoted; as many run at once as the cluster has room for. Interrupted,
    the same command goes on where it was. The table has the mean over splits with its 95 % confidence interval over
    seeds, beside the template on the same pairs. promotion.json keeps it, and the tables of other splits, shots, seeds
    and protocols asked for before; `capetune runs show NAME-promoted` shows them.

    Examples:

      capetune promote decoder-20261123-081500 --set train.epochs=300 --workers 8

      capetune promote smoke --splits 1,2 --seeds 2 --shots 1 --episodes 3
    """
    import json

    from capetune.cluster.environment import prepare_environment
    from capetune.cluster.session import ray_cluster

    prepare_environment(address, verbose)  # before anything below imports Ray

    from capetune.runs.best import ranked_config, ranked_trial
    from capetune.runs.record import Run, read_run
    from capetune.runs.registry import find_search
    from capetune.storage.hold import held

    console = common.console()
    search = find_search(runs, name)
    config = ranked_config(search, rank, settings)
    pack = common.open_data(data or str(search.facts["pack"]), console)
    chosen, supports = _numbers("--splits", splits, 5), _numbers("--shots", shots, 100)

    # Ray and torch take seconds to import: not before what can be refused without them.
    from capetune.reports.promotion import promotion_table
    from capetune.reports.words import share
    from capetune.runs.promotion import FILE, Promotion, read_tables, tabulated, with_table
    from capetune.storage.whole import write_aside
    from capetune.training.loop import describe_data
    from capetune.tuning.preflight import plan
    from capetune.tuning.promote import run_promotion
    from capetune.tuning.search import check_scorable

    for split in chosen:
        check_scorable(pack, split)
        if not len(pack.part(split, "test")):
            raise UserError(
                f"{pack.path} holds no instance of split {split} test to score by; leave it out of --splits"
            )
    folder = runs / f"{name}-promoted"
    promotion = Promotion(config, pack, folder, chosen, supports, seeds, episodes, queries)
    with held(folder):
        run = read_run(folder) or Run(folder, "promote", "running")
        facts = {"config_hash": config.hash(), "data_hash": pack.fingerprint}
        if run.facts and any(run.facts.get(key) != value for key, value in facts.items()):
            raise UserError(
                f"{folder} holds the promotion of another configuration or other data; "
                f"move it away: mv {folder} {folder}-1"
            )
        told = {split: describe_data(pack, split) for split in chosen}
        missing = {split: each["missing_categories"]["test"] for split, each in told.items()}
        facts |= {
            "search": name,
            "pack": str(pack.path.resolve()),
            "data": told[chosen[0]]["data"],
        }
        left, number = promotion.left(), len(promotion.jobs())
        which = f"trial {ranked_trial(search, rank)['number']} of search {name}"
        goes_on = f"{number} job{'s' * (number > 1)}, {number - len(left)} done already"
        console.print(
            f"{which}, {facts['data']} data, {promotion.protocol}, into {folder}\n"
            f"{goes_on}; one that was cut off goes on from its last epoch",
            soft_wrap=True,
            highlight=False,
        )

        def hear(event: dict) -> None:
            epoch = f", epoch {event['epoch']:.0f}/{config.train.epochs}" if event["epoch"] else ""
            score = f"  val mPCK4 {share(event['score'])}" if event["score"] is not None else ""
            if event["state"] == "ended":
                found = promotion.scores(event["job"])
                told = [f"{count} shot{'s' * (count > 1)} {share(mpck4)}" for count, mpck4 in found.items()]
                score = f", test mPCK4: {', '.join(told)}" if told else " without a score"
            console.print(f"{event['job']}: {event['state']}{epoch}{score}", highlight=False)

        if left:
            kept = common.recorded(run, facts, "run the same command again", console)
            with ray_cluster(address, verbose) as cluster, kept:
                common.say_cluster(cluster, console)
                shared = plan(cluster, workers, len(left))
                console.print(shared.words, highlight=False)
                run_promotion(promotion, shared, hear)
            if promotion.left():
                run.save("interrupted")
        table = {**tabulated(promotion), "missing_categories": missing}
        tables = with_table(read_tables(folder), table)
        write_aside(folder / FILE, json.dumps({**facts, "tables": tables}, indent=2) + "\n")
    console.print(promotion_table(table))
    lines = [f"{promotion.protocol} of the test parts, unseen categories, {facts['data']} data; means over the splits"]
    lines += [f"missing in split {split}: {', '.join(names)}" for split, names in missing.items() if names]
    lines += [f"{job} failed: {error}" for job, error in promotion.errors().items()]
    console.print("\n".join([*lines, f"written: {folder}/{FILE}"]), soft_wrap=True, highlight=False, markup=False)
    if promotion.left():
        raise UserError(
            f"{len(promotion.left())} jobs of {len(promotion.jobs())} didn't end; run the same command again"
        )


def _numbers(option: str, text: str, most: int) -> tuple[int, ...]:
    """`1-3,5` → (1, 2, 3, 5)."""
    found: list[int] = []
    for piece in text.split(","):
        first, dash, last = piece.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise UserError(f"{option} wants numbers such as 1,5 or 1-5, not {text!r}")
        found += range(int(first), int(last if dash else first) + 1)
    if not found or min(found) < 1 or max(found) > most:
        raise UserError(f"{option} wants numbers from 1 to {most}, not {text!r}")
    return tuple(dict.fromkeys(found))
