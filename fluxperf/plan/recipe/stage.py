"""One stage of a recipe: its options, and what is around them, as a `StageSpec`. Knows no other stage."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxperf.plan.campaign import StageSpec
from fluxperf.plan.readers import READERS, Fault
from fluxperf.plan.recipe.checks import find_faults, find_metric_faults
from fluxperf.plan.recipe.commands import read_hooks
from fluxperf.plan.recipe.document import Block, Value
from fluxperf.plan.recipe.env import make_lookup, read_env
from fluxperf.plan.recipe.faults import Faults, Place
from fluxperf.plan.recipe.folders import Folders, read_name
from fluxperf.plan.recipe.keys import OF_CAMPAIGN, OF_MOCK, setting_name, stage_keys
from fluxperf.plan.recipe.mock import MockReader, merge
from fluxperf.plan.recipe.options import Item, OptionReader
from fluxperf.plan.recipe.overrides import Notes, tell_overrides
from fluxperf.plan.recipe.server import Scene, ServerBlock, choose_block, find_port, read_server
from fluxperf.plan.recipe.surroundings import RecipeSurroundings
from fluxperf.plan.recipe.values import Reader, check_keys
from fluxperf.plan.settings import OF_SESSIONS, SettingFault, Settings, check_settings, option_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What all stages of a recipe share. `options` is `global` without what belongs to the campaign, `items` are that.

    `missing` gathers where settings are missing, by what is to be said of it.
    """

    file: Path
    top: Block
    options: Block
    items: Mapping[str, Item]
    given: Mapping[str, Any]
    surroundings: RecipeSurroundings
    faults: Faults
    overrides: Notes = field(default_factory=Notes)
    remarks: Notes = field(default_factory=Notes)
    missing: dict[str, list[Place]] = field(default_factory=dict)
    folders: Folders = field(default_factory=Folders)


@dataclass(frozen=True, slots=True)
class StageSource:
    """Where a stage stands, and the suite around it, if there is one."""

    block: Block
    suite: str | None = None
    suite_env: Value | None = None


def read_stage(source: StageSource, common: Common) -> StageSpec | None:
    """The stage with its own output directory yet to be set; None: it is faulty, which has been said."""
    return _StageReading(source, common, *_read_around(source, common)).read()


def _read_around(source: StageSource, common: Common) -> tuple[Reader, dict[str, str | None]]:
    environ = common.surroundings.environ
    blocks = [common.options.entries.get("env"), source.suite_env, source.block.entries.get("env")]
    env = read_env(blocks, Reader(common.faults, environ.get))
    return Reader(common.faults, make_lookup(env, environ.get)), env


@dataclass(frozen=True, slots=True)
class _StageReading:
    source: StageSource
    common: Common
    reader: Reader
    env: Mapping[str, str | None]

    def read(self) -> StageSpec | None:
        block, common, suite = self.source.block, self.common, self.source.suite
        check_keys(block, stage_keys(common.surroundings.later), common.faults)
        name = read_name(block, self.reader)
        title = "/".join(part for part in (suite, name or block.place.path) if part is not None)
        folder = common.folders.take((*([] if suite is None else [suite]), name), block, self.reader) if name else ""
        own, items = self._read_options()
        mock = self._read_mock(items)
        chosen = choose_block(common.top, block, self.reader)
        if chosen is not None and chosen.kind == "vllm" and "endpoint" not in common.given:
            self._give_endpoint(chosen, items, title)
        if (trusted := items.get("tokenizer_trust_remote_code")) is not None and trusted.value:
            what = (
                "tokenizer_trust_remote_code does nothing: no code from the hub is ever run, tokenizer.json needs none"
            )
            common.remarks.add(what, title)
        settings = self._settle(items, title)
        rehearsed = settings is not None and settings.mock_server
        scene = Scene(self.reader, self.env, common.surroundings.environ, rehearsed)
        server = None if chosen is None else read_server(chosen, scene)
        if rehearsed and server is not None and chosen is not None:
            common.remarks.add(f"the mock server takes the place of the one under {chosen.kind}", title)
        hooks = read_hooks((common.top.entries.get("hooks"), block.entries.get("hooks")), self.reader, scene.combine())
        if settings is None:
            return None
        return StageSpec(
            settings=settings,
            name=name,
            suite=suite,
            folder=folder,
            env=self.env,
            server=server,
            mock=mock | {"host": settings.mock_host, "port": settings.mock_port} if rehearsed else None,
            hooks=hooks,
            copy_to=own["output"].value if "output" in own else None,
        )

    def _read_options(self) -> tuple[dict[str, Item], dict[str, Item]]:
        """The stage's own items, and all that hold for it."""
        options = OptionReader(self.reader, self.common.surroundings.later)
        own = options.read(self.source.block, of_stage=True)
        own = {name: item for name, item in own.items() if name not in OF_CAMPAIGN}
        # What the stage says otherwise may need variables that only other stages have.
        above = self.common.options
        needed = {key: value for key, value in above.entries.items() if setting_name(key) not in own}
        return own, {**self.common.items, **options.read(Block(above.place, needed)), **own}

    def _read_mock(self, items: dict[str, Item]) -> dict[str, Any]:
        """The mock's settings but where it listens, which becomes items as if it were given as options."""
        around = self.common.surroundings
        reader = MockReader(self.reader, around.mock_names, around.find_mock_problem)
        layers = []
        for block in (self.common.top, self.common.options, self.source.block):
            if (value := block.entries.get("mock_server")) is not None:
                layers.append(reader.read(value))
            own = {OF_MOCK[name]: item for name, item in items.items() if name in OF_MOCK and name in block.entries}
            layers.append(own)
        merged = merge(layers)
        for name, key in {"mock_server": "enabled", **OF_MOCK}.items():
            items.pop(name, None)
            if key in merged:
                items[name] = merged.pop(key)
        found = {name: item.value for name, item in merged.items() if item.value is not None}
        if (problem := around.find_mock_conflict(found)) is not None:
            where = next((item.place for item in merged.values()), self.source.block.place)
            self.reader.faults.add(where, problem)
        return found

    def _give_endpoint(self, chosen: ServerBlock, items: dict[str, Item], title: str) -> None:
        """The endpoint of a vLLM server is known by its port."""
        item, mock = items.get("endpoint"), items.get("mock_server")
        mocked = "mock_server" in self.common.given or (mock is not None and mock.value)
        if mocked or (item is not None and (item.value is not None or item.unread)):
            return
        endpoint = f"http://127.0.0.1:{find_port(chosen, self.reader)}/v1/chat/completions"
        items["endpoint"] = Item(endpoint, chosen.block.place, "vllm")
        self.common.remarks.add(f"no endpoint is given: that of the vllm block is {endpoint}", title)

    def _settle(self, items: Mapping[str, Item], title: str) -> Settings | None:
        """The settings: what the recipe says, and above it what the command line says."""
        given = self.common.given
        for sentence in tell_overrides(given, items):
            self.common.overrides.add(sentence, title)
        raw = {name: item.value for name, item in items.items() if name in READERS and not item.unread}
        if "no_shuffle_round2" in given:
            raw.pop("round2_order", None)
        raw |= given
        self._drop_session_options(raw, title)
        found = check_settings(raw, lambda name: self._call(name, items))
        faults = [] if isinstance(found, Settings) else found
        faults += find_faults(raw, self.common.file, self.reader.lookup)
        faults += find_metric_faults(raw, self.common.surroundings.find_metric_problem)
        for fault in faults:
            self._place(fault, items)
        return found if isinstance(found, Settings) else None

    def _drop_session_options(self, raw: dict[str, Any], title: str) -> None:
        """`global` may have them for other stages, and older recipes have one whatever the mode. Faulty ones stay."""
        for name in OF_SESSIONS if raw.get("mode") != "multi_turn" else ():
            if raw.get(name) is None or name in self.common.given:
                continue
            with suppress(Fault):
                READERS[name](raw[name])
                del raw[name]
                self.common.remarks.add(f"{name} matters only in multi_turn, and does nothing here", title)

    def _call(self, name: str, items: Mapping[str, Item]) -> str:
        if name in self.common.given:
            return option_name(name)
        return items[name].key if name in items else name

    def _place(self, fault: SettingFault, items: Mapping[str, Item]) -> None:
        item = items.get(fault.name)
        if fault.name in self.common.given:
            self.common.faults.add_text(f"{option_name(fault.name)} {fault.what}")
        elif item is None or (item.value is None and not item.unread):
            self.common.missing.setdefault(f"{fault.name} {fault.what}", []).append(self.source.block.place)
        elif not item.unread:
            self.common.faults.add(item.place, fault.what)
