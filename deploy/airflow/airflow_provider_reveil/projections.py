"""A projection as the API gives it, for one platform or for several, and its figures by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_reveil.errors import ReveilPermanentError

#: Figures of all platforms together, each person counted once, and where a projection of one platform has the same.
TOGETHER = {
    "persons_reached": ("simulation", "reach"),
    "incremental_buyers": ("simulation", "incremental_buyers"),
    "incremental_roi": ("simulation", "incremental_roi"),
    "p_incremental_roi_positive": ("simulation", "p_incremental_roi_positive"),
    "cost": ("point", "cost"),
}
#: In place of a platform's name: every platform has to keep to the limit.
EACH = "each"
#: Texts and tables, not figures.
NO_FIGURES = frozenset({"warnings", "assumptions", "sensitivity"})


class Projection:
    """The answer in one shape, however many platforms it is about.

    `platforms` are the single projections by platform, `together` the figures of all of them.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer = answer
        several = answer.get("platforms")
        single: Sequence[Mapping[str, Any]] = [answer] if several is None else several
        self.platforms = {str(one.get("platform") or "platform"): one for one in single}
        if several is None:
            self.together = {name: _at(answer, path) for name, path in TOGETHER.items()}
        else:
            self.together = {name: value for name, value in answer.items() if name != "platforms"}

    def warnings(self) -> list[str]:
        """Those of each platform, with its name; what all of them say is said once."""
        said: dict[str, list[str]] = {}
        for name, one in self.platforms.items():
            for warning in one.get("warnings") or []:
                said.setdefault(str(warning), []).append(name)
        told = [f"{', '.join(names)}: {warning}" for warning, names in said.items()]
        return told + [str(warning) for warning in self.together.get("warnings") or []]

    def figures(self) -> dict[str, Any]:
        """The same keys for one platform and for several, for XCom."""
        together = {name: self.together.get(name) for name in TOGETHER}
        kept = ("currency", "inactives", "point", "simulation", "optimum", "p_optimum_pays", "warnings")
        return {
            "together": together,
            "platforms": {name: {part: one.get(part) for part in kept} for name, one in self.platforms.items()},
        }

    def find(self, place: str) -> dict[str, float]:
        """The figures that a place means, by their full names.

        # Raises
        ReveilPermanentError, which names the figures there are.
        """
        steps = place.split(".")
        if steps[0] == "platforms":
            del steps[0]
        if steps[0] == EACH:
            found = {f"{name}.{'.'.join(steps[1:])}": _figure(one, steps[1:]) for name, one in self.platforms.items()}
        elif steps[0] in self.platforms:
            found = {place: _figure(self.platforms[steps[0]], steps[1:])}
        elif (value := _at(self.together, steps)) is not None:
            found = {place: value}
        elif len(self.platforms) == 1:
            found = {place: _figure(next(iter(self.platforms.values())), steps)}
        else:
            found = {place: None}
        figures = {name: float(value) for name, value in found.items() if _is_figure(value)}
        if len(figures) < max(1, len(found)):
            raise ReveilPermanentError(self._no_figure(place, steps))
        return figures

    def _no_figure(self, place: str, steps: Sequence[str]) -> str:
        names = list(self.platforms)
        text = f"the projection has no figure {place!r}"
        if len(names) > 1 and any(_is_figure(_figure(one, steps)) for one in self.platforms.values()):
            ways = " or ".join(repr(f"{name}.{place}") for name in [*names, EACH])
            text += f" of {' and '.join(names)} together, only of each platform: say {ways}"
        own = sorted({one for each in self.platforms.values() for one in _places(each)})
        return (
            f"{text}\n  there are, of all platforms together: {', '.join(sorted(_places(self.together)))}"
            f"\n  and of {', '.join(names)}, with the platform's name before it: {', '.join(own)}"
            "\n  a figure is missing where nothing is spent"
        )


def _figure(one: Mapping[str, Any], steps: Sequence[str]) -> Any:
    """A platform's own figure: by its place, or by a bare name under `simulation`."""
    found = _at(one, steps)
    return found if _is_figure(found) else _at(one.get("simulation") or {}, steps)


def _at(fields: Mapping[str, Any], steps: Sequence[str]) -> Any:
    found: Any = fields
    for step in steps:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _places(fields: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in fields.items():
        if _is_figure(value):
            yield f"{before}{name}"
        elif isinstance(value, Mapping) and name not in NO_FIGURES:
            yield from _places(value, f"{before}{name}.")
