"""Reads the data of phonenumbers a second time, slowly and in another way, and compares it with what Paceline answers.

Usage: scripts/numbers-slow.py PHONENUMBERS.whl TZDATA.whl PROGRAM   (`scripts/prove numbers` calls it)
PROGRAM is the example `places` of crates/places. Numbers are drawn with a fixed seed.
"""
import random
import subprocess
import sys
import tomllib
import zoneinfo
from datetime import datetime, timedelta, timezone
from pathlib import Path

phonenumbers_whl, tzdata_whl, program = sys.argv[1:]
sys.path[:0] = [phonenumbers_whl, tzdata_whl]
import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumber, PhoneNumberType, ValidationResult
from phonenumbers.carrierdata import CARRIER_DATA
from phonenumbers.geodata import GEOCODE_DATA
from phonenumbers.tzdata import TIMEZONE_DATA

zoneinfo.reset_tzpath(to=[])
data = Path(__file__).parent.parent / "crates/places/data"
corrections = tomllib.loads((data / "corrections.toml").read_text())
states = tomllib.loads((data / "states.toml").read_text())

LINES = {
    PhoneNumberType.FIXED_LINE: "fixed", PhoneNumberType.MOBILE: "mobile", PhoneNumberType.FIXED_LINE_OR_MOBILE: "fixed_or_mobile",
    PhoneNumberType.TOLL_FREE: "toll_free", PhoneNumberType.PREMIUM_RATE: "premium_rate", PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip", PhoneNumberType.PERSONAL_NUMBER: "personal", PhoneNumberType.PAGER: "pager",
    PhoneNumberType.UAN: "uan", PhoneNumberType.VOICEMAIL: "voicemail", PhoneNumberType.UNKNOWN: "",
}
PLACED = {"fixed", "mobile", "fixed_or_mobile", "voip", ""}
AREA_DIGITS = {1: 3, 55: 2, 61: 1, 34: 3}
MOBILE_HAS_AREA = {1, 55}


def rows_of(area):
    """The zones of all rows that begin with an area code and its calling code."""
    zones = set()
    for row, named in TIMEZONE_DATA.items():
        if row.startswith(area):
            zones |= set(named)
    return zones


def zones_of_area(code, area):
    """gate rule: rows under the area; if none equals it, the longest shorter one above the bare calling code; overlays; corrections."""
    zones = rows_of(area)
    if area not in TIMEZONE_DATA:
        shorter = [row for row in TIMEZONE_DATA if area.startswith(row) and row != str(code)]
        if shorter:
            zones |= set(TIMEZONE_DATA[max(shorter, key=len)])
    for entry in corrections["area"]:
        if entry["area"] == area:
            zones |= set(entry.get("add", []))
    for entry in corrections["overlay"]:
        if entry["area"] == area:
            for over in entry["over"]:
                zones |= zones_of_area(code, over)
    return zones


def national_zones(region, code):
    zone_tab = {}
    for line in (zoneinfo_text("zone.tab")).splitlines():
        if line and line[0] != "#":
            country, _, zone = line.split("\t")[:3]
            zone_tab.setdefault(country, set()).add(zone)
    for entry in corrections["country"]:
        zones = zone_tab.setdefault(entry["country"], set())
        zones |= set(entry.get("add", []))
        zones -= set(entry.get("drop", []))
    zones = set(zone_tab.get(region, set()))
    elsewhere = set().union(*(zones for country, zones in zone_tab.items() if country != region))
    if code != 1:
        zones |= rows_of(str(code)) - elsewhere
    for entry in corrections["shared_plan"]:
        if entry["country"] == region:
            for other in entry["with"]:
                zones |= zone_tab[other]
    return zones


def zoneinfo_text(name):
    import zipfile
    return zipfile.ZipFile(tzdata_whl).read(f"tzdata/zoneinfo/{name}").decode()


def longest(rows, digits):
    for length in range(len(digits), 0, -1):
        if digits[:length] in rows:
            texts = rows[digits[:length]]
            return texts["en"] if "en" in texts else texts[min(texts)]
    return ""


def split(digits):
    for length in (1, 2, 3):
        if int(digits[:length]) in COUNTRY_CODE_TO_REGION_CODE:
            return int(digits[:length]), digits[length:]
    return None, None


areas, nationals = {}, {}
geographic = {row[1:4] for row in TIMEZONE_DATA if row[0] == "1" and len(row) > 3}


def expected(digits):
    code, national = split(digits)
    if code is None or not national:
        return None
    zeros = len(national) - len(national.lstrip("0"))
    number = PhoneNumber(country_code=code, national_number=int(national))
    if zeros:
        number.italian_leading_zero = True
        number.number_of_leading_zeros = zeros if int(national) else max(zeros - 1, 1)
    if phonenumbers.national_significant_number(number) != national:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return {"possible": "false", "country": "", "line": "", "zones": set()}
    line = LINES[phonenumbers.number_type(number)]
    region = phonenumbers.region_code_for_number(number) or COUNTRY_CODE_TO_REGION_CODE[code][0]
    zones = set()
    if line in PLACED:
        width = AREA_DIGITS.get(code)
        area = f"{code}{national[:width]}" if width else None
        placed = width and (code in MOBILE_HAS_AREA or line in ("fixed", "fixed_or_mobile"))
        if placed and code == 1 and national[:3] not in geographic:
            placed, zones = True, set()
        elif placed and code == 55 and not assigned(national[:2]):
            placed, zones = True, set()
        elif placed:
            if area not in areas:
                areas[area] = zones_of_area(code, area)
            zones = areas[area]
        else:
            if (region, code) not in nationals:
                nationals[region, code] = national_zones(region, code)
            zones = nationals[region, code]
    return {
        "possible": "true", "line": line, "zones": zones,
        "country": "" if region in ("001", "AC", "TA") else region,
        "valid": phonenumbers.is_valid_number(number),
    }


def assigned(area):
    """A DDD is assigned if a mobile number of it is valid."""
    return phonenumbers.is_valid_number(PhoneNumber(country_code=55, national_number=int(f"{area}912345678")))


def draw():
    rng = random.Random(20261128)
    digits = lambda count: "".join(rng.choice("0123456789") for _ in range(count))
    for area in range(1000):
        for _ in range(20):
            yield f"1{area:03}{rng.choice('23456789')}{digits(6)}"
        yield f"34{area:03}{digits(6)}"
    for area in range(100):
        for _ in range(20):
            yield f"55{area:02}9{digits(8)}"
            yield f"55{area:02}{rng.choice('2345')}{digits(7)}"
    for area in range(10):
        for _ in range(500):
            yield f"61{area}{digits(8)}"
    for row in TIMEZONE_DATA:
        yield row + digits(max(0, 11 - len(row)))
    for row in rng.sample(sorted(CARRIER_DATA), 5_000) + rng.sample(sorted(GEOCODE_DATA), 20_000):
        for length in (10, 11, 12, 13):
            yield row + digits(max(0, length - len(row)))
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        for region in regions:
            meta = PhoneMetadata.metadata_for_nongeo_region(code) if region == "001" else PhoneMetadata.metadata_for_region(region)
            for kind in ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan", "voicemail"):
                desc = getattr(meta, kind)
                if desc is None or not desc.example_number:
                    continue
                example = f"{code}{desc.example_number}"
                yield example
                for _ in range(100):
                    keep = rng.randrange(len(str(code)), len(example))
                    yield example[:keep] + digits(len(example) - keep + rng.choice((0, 0, 0, 0, -1, 1)))
        for _ in range(200):
            yield f"{code}{digits(rng.randrange(4, 13))}"


def shown_region(digits, code):
    """The regions that are compared: of +1 by the state, of some others by the longest row."""
    if code in (81, 86, 91, 34, 39, 52):
        return longest(GEOCODE_DATA, digits).split(", ")[-1]
    return None


def hours(zones):
    """The fewest hours a day between 8 and 21 o'clock in all of these zones, in 2026 and 2027."""
    at = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
    least = 13.0
    for _ in range(146):
        offsets = [at.astimezone(zoneinfo.ZoneInfo(zone)).utcoffset().total_seconds() / 3600 for zone in zones]
        least = min(least, 13 - (max(offsets) - min(offsets)))
        at += timedelta(days=5)
    return least


def main():
    numbers = sorted({n for n in draw() if 2 <= len(n) <= 15 and n[0] != "0"})
    answers = subprocess.run(
        [program], input="".join(f"+{n}\n" for n in numbers), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(answers) == len(numbers)
    wrong, compared, skipped, lacking = 0, 0, 0, 0
    for digits, answer in zip(numbers, answers):
        _, possible, country, line, found_states, zones, region, carrier = answer.split("\t")
        want = expected(digits)
        if want is None:
            want, code = {"possible": "false", "country": "", "line": "", "zones": set()}, None
            if split(digits)[0] is not None:
                skipped += 1
                continue
        code = split(digits)[0]
        # An area code of +1 has its country, even if the rest of the number is not in use.
        same_country = country == want["country"] or code == 1 and not want["valid"] and zones
        good = possible == want["possible"] and line == want["line"] and same_country and set(zones.split()) == want["zones"]
        good = good and carrier == longest(CARRIER_DATA, digits)
        text = shown_region(digits, code)
        good = good and (text is None or region == text)
        if code == 1 and zones and digits[1:4] in geographic:
            lacking += not rows_of(digits[:4]) <= set(zones.split())
        compared += 1
        if not good:
            wrong += 1
            if wrong <= 20:
                print("differs:", digits, answer, want, longest(CARRIER_DATA, digits), text)
    own_rows = sum(hours(rows_of("1" + code)) == 13 for code in geographic)
    print(f"{compared} numbers compared, {skipped} that phonenumbers cannot express, {wrong} differ, {lacking} lack a zone of a row")
    print(f"{len(geographic)} area codes of +1, {own_rows} keep 13 hours a day by their own rows")
    sys.exit(wrong > 0 or lacking > 0 or (len(geographic), own_rows) != (442, 417))


main()
