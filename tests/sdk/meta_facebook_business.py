#!/usr/bin/env python3
"""Drives the simulated Meta with Meta's own SDK, to keep the simulation honest about what real clients send.

usage: meta_facebook_business.py SANDBOX_URL     (for example http://127.0.0.1:8899)

Needs the package `facebook-business` (26.x). Start a sandbox first:
    cargo run -p reveil-sandbox --example serve -- --port 8899 --no-delays
Exits with 0 when the audience holds exactly what the SDK said, and prints what it checked.
"""
import hashlib
import json
import sys
import urllib.request

from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.adobjects.customaudience import CustomAudience
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

TOKEN = "sandbox-meta-token"
APP_ID, APP_SECRET = "100000000000001", "sandbox-meta-secret"
ACCOUNT = "act_555000111"
Schema = CustomAudience.Schema
Multi = Schema.MultiKeySchema


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def control(base, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}/control{path}", data=data)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return json.load(reply)


def held(base, audience):
    return control(base, f"/members?platform=meta&audience={audience}")["members"]


def check(what, actual, expected):
    if actual != expected:
        sys.exit(f"FAILED {what}:\n  got      {actual}\n  expected {expected}")
    print(f"ok {what}")


def refused(what, code, act):
    try:
        act()
    except FacebookRequestError as error:
        check(f"{what} is refused with code {code}", error.api_error_code(), code)
    else:
        sys.exit(f"FAILED {what}: not refused")


def new_audience(name):
    params = {"name": name, "subtype": "CUSTOM", "description": "Lapsed", "customer_file_source": "USER_PROVIDED_ONLY"}
    return AdAccount(ACCOUNT).create_custom_audience(params=params)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    base = sys.argv[1].rstrip("/")
    FacebookSession.GRAPH = f"{base}/meta"
    # With the app secret the SDK sends appsecret_proof on every call.
    FacebookAdsApi.init(APP_ID, APP_SECRET, TOKEN, api_version="v26.0", crash_log=False)
    emails = [f"person{i}@shop.example" for i in range(5)]

    # Single-key schema: the helper trims, lowers and hashes; a form-encoded POST.
    single = new_audience("sdk single")
    check("creation returns a string id", isinstance(single["id"], str) and single["id"].isdigit(), True)
    reply = single.add_users(Schema.email_hash, [f"  {e.upper()} " for e in emails]).json()
    check("num_received", reply["num_received"], len(emails))
    check("single-key add", held(base, single["id"]), sorted(f"email:{sha(e)}" for e in emails))
    # Removal: the helper puts the payload into the URL's query.
    single.remove_users(Schema.email_hash, emails[:2])
    check("single-key removal by query", held(base, single["id"]), sorted(f"email:{sha(e)}" for e in emails[2:]))

    # Multi-key schema, raw: the helper hashes blanks too; the platform counts those cells and keeps the rest.
    multi = new_audience("sdk multi")
    schema = [Multi.email, Multi.phone]
    rows = [[emails[0], "+33 7 00 00 00 01"], [emails[1], ""]]
    reply = multi.add_users(schema, rows, is_raw=True).json()
    check("a hashed blank counts as invalid entry", reply["num_invalid_entries"], 1)
    wanted = sorted([f"email:{sha(emails[0])}", f"email:{sha(emails[1])}", f"phone:{sha('33700000001')}"])
    check("multi-key add", held(base, multi["id"]), wanted)
    hashed = [[sha(emails[2]), sha("33700000002")]]
    session = {"session_id": 4711, "batch_seq": 1, "last_batch_flag": True, "estimated_num_total": 1}
    multi.add_users(schema, hashed, is_raw=True, pre_hashed=True, session=session)
    wanted = sorted(wanted + [f"email:{hashed[0][0]}", f"phone:{hashed[0][1]}"])
    check("pre-hashed add within a session", held(base, multi["id"]), wanted)
    multi.remove_users(schema, rows[:1], is_raw=True)
    wanted = [w for w in wanted if w not in (f"email:{sha(emails[0])}", f"phone:{sha('33700000001')}")]
    check("multi-key removal", held(base, multi["id"]), wanted)
    refused("mixing schemas on one audience", 2650, lambda: multi.add_users(Schema.email_hash, emails))

    # Names and postcodes, with the helper's own normalisation.
    named = new_audience("sdk named")
    named.add_users([Multi.fn, Multi.ln, Multi.zip, Multi.country], [["Zoe", "Martin", "75001", "FR"]], is_raw=True)
    check("name and postcode make one key", [m.split(":")[0] for m in held(base, named["id"])], ["address"])

    # Reading back through the SDK's objects and cursors.
    fields = ["name", "operation_status", "approximate_count_lower_bound", "time_content_updated"]
    node = CustomAudience(single["id"]).api_get(fields=fields)
    check("name read back", node["name"], "sdk single")
    check("operation status", node["operation_status"]["code"] in (200, 441), True)
    listed = [a["id"] for a in AdAccount(ACCOUNT).get_custom_audiences(fields=["name"], params={"limit": 1})]
    check("the cursor walks every page", {single["id"], multi["id"], named["id"]} <= set(listed), True)
    sessions = list(CustomAudience(multi["id"]).get_sessions(fields=["session_id", "num_received"]))
    check("session read back", [(str(s["session_id"]), s["num_received"]) for s in sessions], [("4711", "1")])

    # Replacement, update, share, account, deletion.
    payload = {"schema": schema, "data": [[sha(emails[4]), ""]]}
    session = {"session_id": 4712, "batch_seq": 1, "last_batch_flag": True}
    CustomAudience(multi["id"]).create_users_replace(params={"session": session, "payload": payload})
    check("replacement", held(base, multi["id"]), [f"email:{sha(emails[4])}"])
    CustomAudience(single["id"]).api_update(params={"name": "sdk renamed"})
    check("rename", CustomAudience(single["id"]).api_get(fields=["name"])["name"], "sdk renamed")
    single.share_audience(["123", "456"])
    check("terms", AdAccount(ACCOUNT).api_get(fields=["tos_accepted"])["tos_accepted"]["custom_audience_tos"], 1)
    AdAccount(ACCOUNT).delete_users_of_any_audience(params={"payload": {"schema": schema, "data": [[sha(emails[4]), ""]]}})
    check("removal from every audience", (held(base, multi["id"]), len(held(base, single["id"]))), ([], 2))
    for audience in (single, multi, named):
        CustomAudience(audience["id"]).api_delete()
    refused("reading a deleted audience", 100, lambda: CustomAudience(single["id"]).api_get(fields=["name"]))
    print("all checks passed")


if __name__ == "__main__":
    main()
