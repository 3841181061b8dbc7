#!/usr/bin/env python3
"""Drives the simulated Google with Google's own client library, over its REST transport.

usage: google_data_manager.py SANDBOX_URL     (for example http://127.0.0.1:8899)

Needs the package `google-ads-datamanager` (0.9.x). Start a sandbox first:
    cargo run -p reveil-sandbox --example serve -- --port 8899 --no-delays
Exits with 0 when the list holds exactly what the library said, and prints what it checked.
"""
import hashlib
import json
import sys
import urllib.request

from google.ads import datamanager_v1 as dm
from google.ads.datamanager_v1.services.ingestion_service.transports.rest import IngestionServiceRestTransport
from google.ads.datamanager_v1.services.user_list_service.transports.rest import UserListServiceRestTransport
from google.api_core.exceptions import GoogleAPICallError
from google.oauth2.credentials import Credentials
from google.protobuf import duration_pb2, field_mask_pb2

PARENT = "accountTypes/GOOGLE_ADS/accounts/1234567890"


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def held(base, audience):
    url = f"{base}/control/members?platform=google&audience={audience}"
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.load(reply)["members"]


def check(what, actual, expected):
    if actual != expected:
        sys.exit(f"FAILED {what}:\n  got      {actual}\n  expected {expected}")
    print(f"ok {what}")


def member(*identifiers):
    return dm.AudienceMember(composite_data=dm.CompositeData(user_data=dm.UserData(user_identifiers=list(identifiers))))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    base = sys.argv[1].rstrip("/")
    # The library refreshes this by itself at the sandbox's token endpoint.
    credentials = Credentials(
        token=None,
        refresh_token="sandbox-google-refresh-token",
        token_uri=f"{base}/google/token",
        client_id="sandbox-google-client",
        client_secret="sandbox-google-client-secret",
        scopes=["https://www.googleapis.com/auth/datamanager"],
    )
    host = f"{base}/google"
    lists = dm.UserListServiceClient(transport=UserListServiceRestTransport(host=host, credentials=credentials))
    ingestion = dm.IngestionServiceClient(transport=IngestionServiceRestTransport(host=host, credentials=credentials))

    body = dm.UserList(
        display_name="sdk list",
        integration_code="sdk-1",
        membership_status=dm.UserList.MembershipStatus.OPEN,
        membership_duration=duration_pb2.Duration(seconds=30 * 86400),
        ingested_user_list_info=dm.IngestedUserListInfo(
            upload_key_types=[dm.IngestedUserListInfo.UploadKeyType.CONTACT_ID],
            contact_id_info=dm.ContactIdInfo(data_source_type=dm.DataSourceType.DATA_SOURCE_TYPE_FIRST_PARTY),
        ),
    )
    made = lists.create_user_list(parent=PARENT, user_list=body)
    check("creation", (made.display_name, made.membership_duration.days), ("sdk list", 30))
    found = list(lists.list_user_lists(request={"parent": PARENT, "filter": 'integration_code = "sdk-1"'}))
    check("found by integration code", [f.id for f in found], [made.id])
    changed = dm.UserList(name=made.name, description="lapsed")
    changed = lists.update_user_list(user_list=changed, update_mask=field_mask_pb2.FieldMask(paths=["description"]))
    check("update", changed.description, "lapsed")

    account = dm.ProductAccount(account_type=dm.ProductAccount.AccountType.GOOGLE_ADS, account_id="1234567890")
    destination = dm.Destination(reference="gads", operating_account=account, product_destination_id=str(made.id))
    granted = dm.ConsentStatus.CONSENT_GRANTED
    email, phone = sha("alexz@gmail.com"), sha("+33700000001")
    address = dm.AddressInfo(given_name=sha("john"), family_name=sha("doe"), region_code="US", postal_code="94043")
    members = [
        member(dm.UserIdentifier(email_address=email), dm.UserIdentifier(phone_number=phone)),
        member(dm.UserIdentifier(address=address)),
    ]
    request = dm.IngestAudienceMembersRequest(
        destinations=[destination],
        audience_members=members,
        encoding=dm.Encoding.HEX,
        consent=dm.Consent(ad_user_data=granted, ad_personalization=granted),
        terms_of_service=dm.TermsOfService(
            customer_match_terms_of_service_status=dm.TermsOfServiceStatus.ACCEPTED,
        ),
    )
    accepted = ingestion.ingest_audience_members(request=request)
    contacts = [k for k in held(base, made.id) if not k.startswith("address")]
    check("ingest", contacts, [f"email:{email}", f"phone:{phone}"])
    status = ingestion.retrieve_request_status(request={"request_id": accepted.request_id})
    entry = status.request_status_per_destination[0]
    success = dm.RequestStatusPerDestination.RequestStatus.SUCCESS
    check("status", entry.request_status, success)
    counts = entry.audience_members_ingestion_status.composite_data_ingestion_status
    check("counts", (counts.record_count, sum(c.count for c in counts.data_type_counts)), (2, 3))
    removal = dm.RemoveAudienceMembersRequest(
        destinations=[destination], audience_members=members[:1], encoding=dm.Encoding.HEX
    )
    ingestion.remove_audience_members(request=removal)
    check("removal", [k.split(":")[0] for k in held(base, made.id)], ["address"])
    request.audience_members[0].composite_data.user_data.user_identifiers[0].email_address = "nobody@shop.example"
    try:
        ingestion.ingest_audience_members(request=request)
    except GoogleAPICallError as error:
        check("a raw address is refused", error.code, 400)
    else:
        sys.exit("FAILED a raw address was accepted")
    lists.delete_user_list(name=made.name)
    print("all checks passed")


if __name__ == "__main__":
    main()
