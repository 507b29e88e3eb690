"""The course of one stage: environment, hook, server, site, preparation, fork, rounds, hook. Errors are its end."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from fluxperf.api import APIS, ChatOptions
from fluxperf.calibrate.record import warn_beyond
from fluxperf.chronicle import Chronicle
from fluxperf.crew import make_client, share
from fluxperf.engine.preparation import Encoding, Preparation, prepare
from fluxperf.environment import stage_environment
from fluxperf.errors import FluxPerfError, Interrupted
from fluxperf.hooking import StageHooks
from fluxperf.hosting import Ground, Host
from fluxperf.launch.fork import Team, forked
from fluxperf.launch.signals import Signals
from fluxperf.ledger import Ledger
from fluxperf.masking import mask_url
from fluxperf.model import RoundName
from fluxperf.model.timeline import from_row
from fluxperf.output import OutputDirectory
from fluxperf.particulars import StagePlan
from fluxperf.past import describe_place
from fluxperf.plan.editions import plan_editions
from fluxperf.plan.planner import LevelPlan
from fluxperf.provenance import Asked, ask_server
from fluxperf.report.text import count
from fluxperf.resumption import Resumption
from fluxperf.sent import Audience, SentPrompts, place_of
from fluxperf.site import Shield, Site, find_site
from fluxperf.spool import Spooled
from fluxperf.stage import RoundHooks, Stage, Surroundings
from fluxperf.survey import StageSurvey
from fluxperf.voice import Voice
from fluxperf.watch.lookout import Lookout, Wishes, open_lookout

# From here on, what takes its time is announced.
MANY_REQUESTS = 20_000
SALT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Around:
    """What all stages of a run share. `open_books` claims the output directory when it is first called."""

    signals: Signals
    voice: Voice
    host: Host
    sent: SentPrompts
    shield: Shield
    open_books: Callable[[], tuple[OutputDirectory, Chronicle]]


def run_stage(found: StageSurvey, around: Around, resumption: Resumption) -> None:
    """Runs what is left of a stage. Raises FluxPerfError; what was finished by then is written.

    Without a server and hooks of its own an earlier run in the output directory is left alone until the server of
    the stage is there.
    """
    spec = found.spec
    with ExitStack() as stack:
        stack.enter_context(stage_environment(spec.env))
        endpoint = spec.settings.endpoint or ""
        before_round: RoundHooks = no_hook
        if spec.has_own_processes:
            output = around.open_books()[0].part(spec.folder)
            hooks = StageHooks(spec, output.path, around.voice, around.shield)
            stack.callback(around.host.leave)
            stack.push(hooks.end)  # while the server is still there
            hooks.before_stage()
            endpoint = around.host.enter(spec, Ground(output.path, output.spool))
            before_round = hooks.before_round
        else:
            around.host.close()
        around.voice.progress(spec.settings)
        around.voice.announce(f"connecting to {mask_url(endpoint)}")
        site = find_site(endpoint, spec.settings, around.voice.say)
        site = replace(site, secrets=tuple(dict.fromkeys((*site.secrets, *around.shield.secrets))))
        _measure(found, site, around, (resumption, before_round))


def no_hook(_concurrency: int, _round: RoundName) -> None:
    """Before a round of a stage without hooks."""


def _measure(found: StageSurvey, site: Site, around: Around, further: tuple[Resumption, RoundHooks]) -> None:
    """All that needs the server."""
    resumption, before_round = further
    spec, voice, signals = found.spec, around.voice, around.signals
    resumption.check_model(spec, site.model)
    if (warning := warn_beyond(site.found.http_version, found.most_streams)) is not None:
        voice.say(warning)
    lookout = _look_out(found, site, around)
    root, chronicle = around.open_books()
    output = root.part(spec.folder)
    plan = StagePlan(
        spec,
        site,
        found.slo,
        found.dataset.sha256,
        len(found.dataset),
        found.workers,
        found.kernel_stamps,
        found.tokens,
        prepare_bodies(found, site, voice),
    )
    answers = ask_server(site) if spec.settings.engine != "none" else {}
    asked = Asked(
        spec=spec,
        site=site,
        dataset=found.dataset,
        origin=chronicle.origin,
        answers=answers,
        server=around.host.describe,
    )
    ledger = Ledger(asked, output, voice)
    surroundings = Surroundings(signals, lookout, around.host, before_round, around.sent)
    _take_over(found, ledger, resumption)
    run_levels(found.levels, plan, ledger, (surroundings, chronicle))


def _look_out(found: StageSurvey, site: Site, around: Around) -> Lookout:
    settings = found.spec.settings
    wishes = Wishes(
        base=site.base,
        engine=settings.engine,
        reset_url=settings.reset_cache_url,
        prometheus_url=settings.prometheus_url,
        metrics=settings.prometheus_metrics,
        secrets=site.secrets,
    )
    return open_lookout(wishes, site.access_to, around.voice.say, lambda: around.signals.received is not None)


def prepare_bodies(found: StageSurvey, site: Site, voice: Voice) -> Preparation:
    """Encodes each edition once, whatever the number of levels and rounds that send it."""
    settings = found.spec.settings
    editions = plan_editions(found.levels, len(found.dataset), secrets.token_hex(SALT_BYTES))
    if (requests := sum(len(edition.sample) for edition in editions)) > MANY_REQUESTS:
        voice.say(f"encoding {requests:,} requests")
    options = ChatOptions(
        model=site.model,
        max_output_tokens=settings.max_output_tokens,
        min_output_tokens=settings.min_output_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        extra_body=settings.extra_body,
    )
    encoding = Encoding(APIS["chat"], options, settings.max_input_length, found.tokens)
    with voice.meter("Encoding requests", requests, settings) as meter:
        return prepare(found.dataset, editions, replace(encoding, advance=meter.advance))


def recall_sent(stages: Sequence[StageSurvey], resumption: Resumption, sent: SentPrompts) -> None:
    """What the interrupted run sent to servers that are not ours, and so are still there."""
    for found in stages:
        spec = found.spec
        if spec.settings.endpoint is None or spec.settings.salt or spec.mock is not None or spec.server is not None:
            continue
        audience = Audience(place_of(spec.settings.endpoint), 0, found.dataset.sha256)
        for level in found.levels:
            begun = resumption.was_begun(spec, level)
            if begun is not None:
                place = describe_place(spec, level.concurrency) if begun else "by the run that was interrupted"
                sent.add(audience, level.sample, len(found.dataset), place)


def _take_over(found: StageSurvey, ledger: Ledger, resumption: Resumption) -> None:
    """Gives the ledger the rounds that need not be run again."""
    earlier = resumption.result_of(found.spec)
    if earlier is None:
        return
    whole = resumption.whole_levels(found)
    rounds = []
    for result in resumption.kept_rounds(found):
        files = ledger.output.round_files(result.concurrency, result.round)
        rows = () if result.concurrency in whole else Spooled(files.all_rows(), from_row)
        rounds.append(replace(result, requests=rows))
    ledger.restore(earlier, rounds)
    if rounds:
        ledger.voice.say(f"going on after {count(len(rounds), 'round')} finished before")


def run_levels(
    levels: Sequence[LevelPlan], plan: StagePlan, ledger: Ledger, around: tuple[Surroundings, Chronicle]
) -> None:
    """Forks the workers and runs every round of every level. Each result is on disk before the next round starts."""
    surroundings, chronicle = around
    signals, spec = surroundings.signals, plan.spec
    done = {(one.concurrency, one.round) for one in ledger.rounds}
    shared = share(plan)
    with signals.deferred(), forked(plan.workers, make_client(plan, APIS["chat"]), shared) as team:
        signals.at_once = lambda: end_at_once(team, surroundings.host)
        signals.check()
        progress = ledger.voice.progress(plan.settings)
        stage = Stage(plan, ledger.output, surroundings, shared)
        stage.continued = frozenset(concurrency for concurrency, _ in done)
        for level in levels:
            for round_plan in level.rounds:
                if (level.concurrency, round_plan.round) in done:
                    continue
                try:
                    chronicle.begin_round(spec, level.concurrency, round_plan.round)
                    result, error = stage.run_round(level, round_plan, team, progress)
                except FluxPerfError:
                    close_early(ledger)
                    raise
                ledger.enter(result)
                chronicle.enter(spec, ledger.result(partial=True))
                if error is None and signals.received is not None:
                    error = Interrupted(signals.received)
                if error is not None:
                    close_early(ledger)
                    raise error
            ledger.output.forget_rows(level.concurrency)
        chronicle.enter(spec, ledger.result(partial=False))
        ledger.close(partial=False)


def close_early(ledger: Ledger) -> None:
    """What was finished is told; that something else fails then is only said, since an error is on its way."""
    try:
        ledger.close(partial=True)
    except FluxPerfError as error:
        ledger.voice.complain(str(error))


def end_at_once(team: Team, host: Host) -> None:
    """Before a second signal ends the process: nothing of ours is left, and the terminal has its cursor again."""
    team.kill()
    host.hurry()
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h\n")
