//! Members as the rows of a multi-key upload, written straight into the bytes of the request.
//!
//! Every row has one cell per column of the schema; an unknown value is `""`, never the digest of the empty string.
//! A member with several e-mails or phones takes several rows with the same `EXTERN_ID`, the rest of its values
//! repeated. Source: reference/custom-audience/users.

use std::io::Write as _;

use reveil_sdk::{Batch, IdentifierKind, MemberRef, RejectReason, Rejection, ValueRef};

use crate::config::LimitedDataUse;

/// Rows of one request at most.
pub(crate) const MAX_ROWS: usize = 10_000;

/// Nothing left to identify the member by.
const NO_IDENTIFIER: RejectReason = RejectReason::from_static("no_identifier");

/// SHA-256 of nothing: matches everybody whose field was blank somewhere, so it is treated as no value.
const EMPTY_DIGEST: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Columns after `EXTERN_ID`, in the order they are written.
const COLUMNS: [(IdentifierKind, &str); 8] = [
    (IdentifierKind::Email, "EMAIL"),
    (IdentifierKind::Phone, "PHONE"),
    (IdentifierKind::MobileAdId, "MADID"),
    (IdentifierKind::GivenName, "FN"),
    (IdentifierKind::FamilyName, "LN"),
    (IdentifierKind::Postcode, "ZIP"),
    (IdentifierKind::City, "CT"),
    (IdentifierKind::Country, "COUNTRY"),
];
const EMAIL: usize = 0;
const PHONE: usize = 1;
const MOBILE: usize = 2;
const MOST_MOBILES: usize = 3;

fn column(kind: IdentifierKind) -> Option<usize> {
    COLUMNS.iter().position(|(other, _)| *other == kind)
}

/// How a batch is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// All columns, whether the batch holds them or not (a replacement wants one schema in all its batches);
    /// otherwise those the batch holds.
    pub every_column: bool,
    pub limited_data_use: Option<LimitedDataUse>,
    /// A row with only our id is of use (removal), or not (addition).
    pub id_alone: bool,
}

/// The session a request belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionPlace {
    pub session_id: u64,
    pub ordinal: u32,
    pub last: bool,
    pub estimated_members: u64,
}

/// One request body.
pub(crate) struct Part {
    pub body: Vec<u8>,
    pub rows: u64,
}

/// A batch as requests; nearly always one. There are more when members with several e-mails or phones take more
/// than [`MAX_ROWS`] rows.
pub(crate) struct Parts {
    pub parts: Vec<Part>,
    pub rejected: Vec<Rejection>,
}

/// Added to the batch number for each further request of one batch. Numbers need to be stable when sent again and
/// different from all others of the session; gaps and order do not matter (reference/custom-audience/usersreplace).
const PART_STRIDE: u64 = 1_000_000;

/// Values of one member by column, several e-mails, phones and mobile ids apart.
struct Cells<'a> {
    emails: &'a [[u8; 32]],
    phones: &'a [[u8; 32]],
    mobiles: [Option<&'a str>; MOST_MOBILES],
    single: [Option<&'a [u8; 32]>; COLUMNS.len()],
}

impl<'a> Cells<'a> {
    fn of(member: MemberRef<'a>) -> Self {
        let (emails, phones) = (member.emails(), member.phones());
        let mut cells = Cells { emails, phones, mobiles: [None; MOST_MOBILES], single: [None; COLUMNS.len()] };
        if member.len() > emails.len() + phones.len() {
            for (kind, value) in member.others() {
                match (kind, value) {
                    (IdentifierKind::MobileAdId, ValueRef::Plain(text)) if !text.is_empty() => {
                        if let Some(free) = cells.mobiles.iter_mut().find(|mobile| mobile.is_none()) {
                            *free = Some(text);
                        }
                    }
                    (IdentifierKind::MobileAdId, _) => {}
                    (kind, ValueRef::Digest(digest)) if *digest != EMPTY_DIGEST => {
                        if let Some(at) = column(kind) {
                            cells.single[at] = Some(digest);
                        }
                    }
                    // A value in the clear where a digest belongs was not prepared for Meta, and must not leave.
                    _ => {}
                }
            }
        }
        cells
    }

    fn mobile_count(&self) -> usize {
        self.mobiles.iter().flatten().count()
    }

    fn rows(&self) -> usize {
        self.emails.len().max(self.phones.len()).max(self.mobile_count()).max(1)
    }

    fn has_identifier(&self) -> bool {
        let usable = |digest: &[u8; 32]| *digest != EMPTY_DIGEST;
        self.emails.iter().any(usable)
            || self.phones.iter().any(usable)
            || self.mobile_count() > 0
            || self.single.iter().any(Option::is_some)
    }

    /// One bit per column that holds something.
    fn columns(&self) -> u16 {
        let mut bits = u16::from(!self.emails.is_empty()) << EMAIL;
        bits |= u16::from(!self.phones.is_empty()) << PHONE;
        bits |= u16::from(self.mobile_count() > 0) << MOBILE;
        for (at, digest) in self.single.iter().enumerate() {
            bits |= u16::from(digest.is_some()) << at;
        }
        bits
    }

    fn write(&self, columns: u16, key: &[u8; 24], tail: &[u8], body: &mut Vec<u8>) {
        for row in 0..self.rows() {
            body.extend_from_slice(b"[\"");
            body.extend_from_slice(key);
            body.push(b'"');
            for at in (0..COLUMNS.len()).filter(|at| columns & (1 << at) != 0) {
                match at {
                    EMAIL => write_digest(self.emails.get(row), body),
                    PHONE => write_digest(self.phones.get(row), body),
                    MOBILE => write_text(self.mobiles.get(row).copied().flatten(), body),
                    _ => write_digest(self.single[at], body),
                }
            }
            body.extend_from_slice(tail);
            body.extend_from_slice(b"],");
        }
    }
}

fn write_digest(digest: Option<&[u8; 32]>, body: &mut Vec<u8>) {
    match digest {
        Some(digest) if *digest != EMPTY_DIGEST => {
            let mut cell = *b",\"0000000000000000000000000000000000000000000000000000000000000000\"";
            const_hex::encode_to_slice(digest, &mut cell[2..66]).expect("64 digits for 32 bytes");
            body.extend_from_slice(&cell);
        }
        _ => body.extend_from_slice(b",\"\""),
    }
}

fn write_text(text: Option<&str>, body: &mut Vec<u8>) {
    body.push(b',');
    serde_json::to_writer(body, text.unwrap_or_default()).expect("a string always serialises");
}

/// Writes a batch. Members without any usable identifier are rejected unless the form says that our id will do.
pub(crate) fn write(batch: &Batch, form: Form, place: SessionPlace) -> Parts {
    let mut columns = 0;
    let mut rows = 0;
    for member in batch.iter() {
        let cells = Cells::of(member);
        columns |= cells.columns();
        rows += cells.rows();
    }
    if form.every_column {
        columns = (1 << COLUMNS.len()) - 1;
    }
    let head = head(columns, form.limited_data_use);
    let tail = form
        .limited_data_use
        .map_or_else(Vec::new, |use_| format!(",[\"LDU\"],{},{}", use_.country, use_.state).into_bytes());
    let row_bytes = 30 + 67 * columns.count_ones() as usize + tail.len();
    let capacity = head.len() + rows.min(MAX_ROWS) * row_bytes + 256;

    let mut parts = Vec::new();
    let mut rejected = Vec::new();
    let mut open = Part { body: Vec::new(), rows: 0 };
    for (index, member) in batch.iter().enumerate() {
        let cells = Cells::of(member);
        if !form.id_alone && !cells.has_identifier() {
            rejected.push(Rejection { index: index as u32, reason: NO_IDENTIFIER });
            continue;
        }
        if open.rows as usize + cells.rows() > MAX_ROWS {
            parts.push(std::mem::replace(&mut open, Part { body: Vec::new(), rows: 0 }));
        }
        if open.body.is_empty() {
            open.body.reserve(capacity);
            open.body.extend_from_slice(&head);
        }
        let mut key = [0; 24];
        const_hex::encode_to_slice(member.key().0, &mut key).expect("24 digits for 12 bytes");
        cells.write(columns, &key, &tail, &mut open.body);
        open.rows += cells.rows() as u64;
    }
    if open.rows > 0 {
        parts.push(open);
    }
    let count = parts.len();
    for (number, part) in parts.iter_mut().enumerate() {
        close(part, place, number as u64, number + 1 == count);
    }
    Parts { parts, rejected }
}

fn head(columns: u16, limited_data_use: Option<LimitedDataUse>) -> Vec<u8> {
    let mut head = br#"{"payload":{"schema":["EXTERN_ID""#.to_vec();
    for (_, name) in COLUMNS.iter().enumerate().filter(|(at, _)| columns & (1 << at) != 0).map(|(_, column)| column) {
        write!(head, ",\"{name}\"").expect("writing to a Vec");
    }
    if limited_data_use.is_some() {
        head.extend_from_slice(
            br#","DATA_PROCESSING_OPTIONS","DATA_PROCESSING_OPTIONS_COUNTRY","DATA_PROCESSING_OPTIONS_STATE""#,
        );
    }
    head.extend_from_slice(br#"],"data":["#);
    head
}

/// The session goes last, because whether a request is the last one is known only when all rows are written.
fn close(part: &mut Part, place: SessionPlace, number: u64, last_part: bool) {
    part.body.pop();
    write!(
        part.body,
        r#"]}},"session":{{"session_id":{},"batch_seq":{},"last_batch_flag":{},"estimated_num_total":{}}}}}"#,
        place.session_id,
        u64::from(place.ordinal) + number * PART_STRIDE,
        place.last && last_part,
        place.estimated_members,
    )
    .expect("writing to a Vec");
}
