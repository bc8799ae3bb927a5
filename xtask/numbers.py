"""Prints the data of the PyPI packages phonenumbers and tzdata as JSON: number plans, rows by prefix, zones of countries.

Called by `cargo xtask numbers` with the two wheels as arguments. It decides nothing: what the rows mean is in xtask/src/numbers.rs.
"""
import json
import sys
import zipfile

phonenumbers_whl, tzdata_whl = sys.argv[1:]
sys.path.insert(0, phonenumbers_whl)
import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata
from phonenumbers.carrierdata import CARRIER_DATA
from phonenumbers.geodata import GEOCODE_DATA
from phonenumbers.tzdata import TIMEZONE_DATA

KINDS = (
    "premium_rate", "toll_free", "shared_cost", "voip", "personal_number", "pager", "uan", "voicemail", "fixed_line", "mobile",
)


def desc(desc):
    if desc is None or not desc.national_number_pattern:
        return None
    return {"pattern": desc.national_number_pattern, "lengths": list(desc.possible_length)}


def plan(code, region):
    if region == "001":
        data = PhoneMetadata.metadata_for_nongeo_region(code)
    else:
        data = PhoneMetadata.metadata_for_region(region)
    return {
        "region": region,
        "leading_digits": data.leading_digits,
        "fixed_is_mobile": bool(data.same_mobile_and_fixed_line_pattern),
        "general": desc(data.general_desc),
        "kinds": {kind: desc(getattr(data, kind)) for kind in KINDS if desc(getattr(data, kind))},
    }


def english(texts):
    return texts["en"] if "en" in texts else texts[min(texts)]


zone_tab = []
tzdata = zipfile.ZipFile(tzdata_whl)
for line in tzdata.read("tzdata/zoneinfo/zone.tab").decode().splitlines():
    if line and not line.startswith("#"):
        country, _, zone = line.split("\t")[:3]
        zone_tab.append([country, zone])

json.dump(
    {
        "version": phonenumbers.__version__,
        "plans": [
            {"code": str(code), "regions": [plan(code, region) for region in regions]}
            for code, regions in sorted(COUNTRY_CODE_TO_REGION_CODE.items())
        ],
        "zones": {prefix: list(zones) for prefix, zones in TIMEZONE_DATA.items()},
        "regions": {prefix: english(texts) for prefix, texts in GEOCODE_DATA.items()},
        "carriers": {prefix: english(texts) for prefix, texts in CARRIER_DATA.items()},
        "zone_tab": zone_tab,
    },
    sys.stdout,
    ensure_ascii=False,
    sort_keys=True,
)
