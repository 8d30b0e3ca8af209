"""The sources of webhooks that the settings set up. A new source is a file in `sources/` and a line here."""

from collections.abc import Callable

from tallyframe.settings import Settings
from tallyframe.webhooks.base import Source, Sources
from tallyframe.webhooks.sources import clerk

#: Each returns its source, or None where its secret is not set.
_BUILDERS: tuple[Callable[[Settings], Source | None], ...] = (clerk.build,)


def build_sources(settings: Settings) -> Sources:
    """Return the sources that are set up, by name."""
    built = (build(settings) for build in _BUILDERS)
    return {source.name: source for source in built if source}
