"""Platforms made in Python, saved as SimGrid's XML."""

import pathlib
import re
import xml.etree.ElementTree as ElementTree
from typing import Any, Optional, Sequence, Union

from cdisim import files

Number = Union[str, int, float]
_HEAD = '<?xml version="1.0"?>\n<!DOCTYPE platform SYSTEM "https://simgrid.org/simgrid.dtd">\n'
_ORDER = ("prop", "zone", "router", "host", "link", "route", "zoneRoute")


class PlatformBuilder:
    """A platform file in the making.

        platform = cdisim.PlatformBuilder("testbed", about="Nobody's testbed: all assumed.")
        platform.add_host("pi", tier="device", speed="38.4Gf", device_type="raspberry_pi_3b", memory="1GiB")
        platform.add_host("desktop", tier="edge", speed="435.2Gf", device_type="intel_i7_6700")
        platform.add_link("lan", bandwidth="10Mbps", latency="1ms")
        platform.add_route("pi", "desktop", "lan")
        platform.save("testbed.xml")

    Quantities are texts as in the file, or numbers in SI units (flop/s, byte/s, s, byte). Hosts, links and routes stand
    in the outer zone, unless `zone` names one within it.
    """

    def __init__(self, name: str, *, about: str = ""):
        """about: a comment on top of the file: whose testbed, and the sources of its numbers."""
        self._root = ElementTree.Element("platform", version="4.1")
        ElementTree.SubElement(self._root, "zone", id=name, routing="Full")
        self._head = _HEAD + (f"<!-- {about} -->\n" if about else "")

    def __repr__(self) -> str:
        return f"<cdisim.PlatformBuilder {self.name}: {len(self.host_names())} hosts>"

    @property
    def name(self) -> str:
        return self._outer.get("id", "")

    @property
    def _outer(self) -> ElementTree.Element:
        zone = self._root.find("zone")
        assert zone is not None
        return zone

    def host_names(self) -> list[str]:
        return [host.get("id", "") for host in self._root.iter("host")]

    def link_names(self) -> list[str]:
        return [link.get("id", "") for link in self._root.iter("link")]

    # ---- files ----

    @classmethod
    def load(cls, name: files.Path) -> "PlatformBuilder":
        """That of a file, or of a bundled platform, with its comments. Raises InputError where there is none."""
        path = files.find("platform", name)
        text = path.read_text(encoding="utf-8")
        platform = cls.__new__(cls)
        try:
            builder = ElementTree.TreeBuilder(insert_comments=True)
            platform._root = ElementTree.fromstring(text, ElementTree.XMLParser(target=builder))
        except ElementTree.ParseError:
            files.check(path)
            raise
        if platform._root.find("zone") is None:
            files.check(path)
        start = re.search(r"^<platform\b", text, re.MULTILINE)
        platform._head = text[:start.start()] if start else _HEAD
        return platform

    def text(self) -> str:
        """The file's text."""
        ElementTree.indent(self._root)
        return self._head + ElementTree.tostring(self._root, encoding="unicode") + "\n"

    def save(self, path: files.Path) -> None:
        pathlib.Path(path).write_text(self.text(), encoding="utf-8")

    def check(self) -> None:
        """Raises InputError with what the program says where the platform is wrong."""
        files.check_text(self.text(), f"{self.name}.xml")

    def build(self):
        """The cdisim.Platform, as policies see it. Raises InputError where the platform is wrong."""
        from cdisim import _core

        return _core.Platform.parse(self.text(), f"{self.name}.xml")

    # ---- hosts, links, routes ----

    def add_host(self, name: str, *, tier: str, speed: Union[Number, Sequence[Number]], core: Optional[int] = 1,
                 pstate: Optional[int] = None, device_type: Optional[str] = None, profile: Optional[str] = None,
                 memory: Optional[Number] = None, wattage_per_state: Optional[str] = None,
                 wattage_off: Optional[Number] = None, wattage_radio: Optional[str] = None,
                 joule_per_byte_radio: Optional[str] = None, battery: Optional[Number] = None,
                 wattage_flight: Optional[Number] = None, price_per_hour: Optional[Number] = None,
                 discipline: Optional[str] = None, max_batch: Optional[int] = None,
                 max_wait: Optional[Number] = None, wifi_rate: Optional[int] = None,
                 zone: Optional[str] = None) -> None:
        """tier: "device", "edge", "cloud" or "uav". speed: of a core, or of each power state ([fast, slow]).

        wattage_per_state: "idle:all cores" in W, or "idle:one core:all cores", for each power state, with commas.
        wattage_radio: "idle:tx:rx" in W. joule_per_byte_radio: "tx:rx". battery: in J. wifi_rate: which of its link's
        bandwidths a station of a Wi-Fi zone has, from 0.
        """
        speeds = [speed] if isinstance(speed, (str, int, float)) else speed
        host = self._add(zone, "host", id=name, speed=",".join(_quantity(value, "f") for value in speeds), core=core,
                         pstate=pstate)
        _add_properties(host, tier=tier, device_type=device_type, profile=profile, memory=_quantity(memory, "B"),
                        wattage_per_state=wattage_per_state, wattage_off=wattage_off, wattage_radio=wattage_radio,
                        joule_per_byte_radio=joule_per_byte_radio, battery=_quantity(battery, "J"),
                        wattage_flight=wattage_flight, price_per_hour=price_per_hour, discipline=discipline,
                        max_batch=max_batch, max_wait=_quantity(max_wait, "s"), wifi_rate=wifi_rate)

    def add_link(self, name: str, *, bandwidth: Number, latency: Number, sharing_policy: Optional[str] = None,
                 price_per_gb: Optional[Number] = None, zone: Optional[str] = None) -> None:
        """sharing_policy: "SHARED" (default; one medium for both ways), "FATPIPE" or "SPLITDUPLEX"."""
        link = self._add(zone, "link", id=name, bandwidth=_quantity(bandwidth, "Bps"),
                         latency=_quantity(latency, "s"), sharing_policy=sharing_policy)
        _add_properties(link, price_per_gb=price_per_gb)

    def add_route(self, src: str, dst: str, links: Union[str, Sequence[Union[str, tuple[str, str]]]], *,
                  symmetrical: Optional[bool] = None, zone: Optional[str] = None) -> None:
        """links: one or several; of a SPLITDUPLEX link with its direction, ("lan", "UP") or ("lan", "DOWN").
        symmetrical: whether the way back takes the same links (default)."""
        route = self._add(zone, "route", src=src, dst=dst, symmetrical=_yes(symmetrical))
        _add_links(route, links)

    def add_zone(self, name: str, *, routing: str = "Full") -> None:
        """A zone within the outer one."""
        self._add(None, "zone", id=name, routing=routing)

    def add_wifi(self, name: str, *, link: str, bandwidth: Union[Number, Sequence[Number]],
                 access_point: str = "access_point", latency: Optional[Number] = None) -> None:
        """A Wi-Fi zone with its access point and the link whose airtime its stations share.

        Stations are add_host(..., zone=name, wifi_rate=0). bandwidth: of each rate, the first is that of wifi_rate 0.
        """
        rates = [bandwidth] if isinstance(bandwidth, (str, int, float)) else bandwidth
        self.add_zone(name, routing="Wifi")
        _add_properties(self._zone(name), access_point=access_point)
        self._add(name, "router", id=access_point)
        air = self._add(name, "link", id=link, bandwidth=",".join(_quantity(rate, "Bps") for rate in rates),
                        sharing_policy="WIFI")
        _add_properties(air, latency=_quantity(latency, "s"))

    def add_zone_route(self, src: str, dst: str, links: Union[str, Sequence[Union[str, tuple[str, str]]]], *,
                       gw_src: str, gw_dst: str, symmetrical: Optional[bool] = None) -> None:
        """Between zones, from the gateway of one to that of the other."""
        route = self._add(None, "zoneRoute", src=src, dst=dst, gw_src=gw_src, gw_dst=gw_dst,
                          symmetrical=_yes(symmetrical))
        _add_links(route, links)

    def _zone(self, name: Optional[str]) -> ElementTree.Element:
        for zone in self._root.iter("zone"):
            if name is None or zone.get("id") == name:
                return zone
        raise ValueError(f'there is no zone "{name}"')

    def _add(self, zone: Optional[str], kind: str, **attributes: Any) -> ElementTree.Element:
        """Behind the others of its kind: SimGrid reads kinds in this order."""
        parent = self._zone(zone)
        at = len(parent)
        while at > 0 and parent[at - 1].tag in _ORDER and _ORDER.index(parent[at - 1].tag) > _ORDER.index(kind):
            at -= 1
        element = ElementTree.Element(kind, {key: str(value) for key, value in attributes.items() if value is not None})
        parent.insert(at, element)
        return element


def _add_properties(element: ElementTree.Element, **values: Any) -> None:
    for key, value in values.items():
        if value is not None:
            ElementTree.SubElement(element, "prop", id=key, value=str(value))


def _add_links(route: ElementTree.Element, links) -> None:
    for link in [links] if isinstance(links, str) else links:
        name, *direction = [link] if isinstance(link, str) else link
        ElementTree.SubElement(route, "link_ctn", id=name, **({"direction": direction[0]} if direction else {}))


def _quantity(value: Any, unit: str) -> Any:
    """A number gets the SI unit."""
    return value if value is None or isinstance(value, str) else f"{value!r}{unit}"


def _yes(value: Optional[bool]) -> Optional[str]:
    return None if value is None else "YES" if value else "NO"
