//! A PostgreSQL that answers what `wait` and the history ask, and the lies that only PostgreSQL's protocol
//! has.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use testbed::history::log::Log;
use testbed::history::record::{LogInfo, Record};

use super::{Liar, Over, Said, Then};

const BOOL: u32 = 16;
const BYTES: u32 = 17;
const CHAR: u32 = 18;
const NAME: u32 = 19;
const NUMBER: u32 = 20;
const TEXT: u32 = 25;
const OID: u32 = 26;
const FLOAT: u32 = 701;
const VOID: u32 = 2278;
/// None of the server's own.
const NOBODYS: u32 = 99_999;

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

fn columns(types: &[u32]) -> Vec<u8> {
    let each = types
        .iter()
        .flat_map(|kind| [b"c\0\0\0\0\0\0\0", &kind.to_be_bytes()[..], b"\xff\xff\0\0\0\0\0\x01"].concat());
    message(b'T', &[&(types.len() as u16).to_be_bytes()[..], &each.collect::<Vec<u8>>()].concat())
}

/// A row's.
type Values = Vec<Option<Vec<u8>>>;

fn row(values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let each = values.iter().flat_map(|value| match value {
        Some(value) => [&(value.len() as u32).to_be_bytes()[..], value].concat(),
        None => (-1_i32).to_be_bytes().to_vec(),
    });
    message(b'D', &[&(values.len() as u16).to_be_bytes()[..], &each.collect::<Vec<u8>>()].concat())
}

fn done(tag: &str) -> Vec<u8> {
    message(b'C', &[tag.as_bytes(), b"\0"].concat())
}

/// The columns and the rows that answer a question; no columns for what is no question.
fn answer(sql: &str) -> (Vec<u32>, Vec<Values>) {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let number = |number: i64| Some(number.to_be_bytes().to_vec());
    let truth = || Some(vec![1]);
    let story = || {
        let record = Record { id: "0190-1".into(), name: "shop".into(), ..Record::begin("run-1", "local") };
        text(&serde_json::to_string(&record).unwrap())
    };
    let info = || LogInfo { source: "postgres".into(), ..LogInfo::default() };
    let has = |part: &str| sql.contains(part);
    if has("split_part(file") || has("/proc/1/comm") {
        (vec![TEXT], vec![vec![text("1")]])
    } else if has("pg_postmaster_start_time") {
        (vec![FLOAT, BOOL], vec![vec![Some(5_f64.to_be_bytes().to_vec()), truth()]])
    } else if has("pg_catalog.pg_tables") || has("pg_catalog.pg_namespace") {
        (vec![BOOL], vec![vec![truth()]])
    } else if has("pg_catalog.pg_type") {
        // Whoever asks for a type is told that it consists of another one.
        let next = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() | 1 << 30;
        let zero = || Some(vec![0; 4]);
        let row =
            vec![text("t"), text("b"), Some(next.to_be_bytes().to_vec()), zero(), zero(), text("x"), zero()];
        (vec![NAME, CHAR, OID, OID, OID, NAME, OID], vec![row])
    } else if has("max(version)") {
        (vec![NUMBER], vec![vec![number(1)]])
    } else if has("pg_advisory_xact_lock") {
        (vec![VOID], vec![vec![text("")]])
    } else if has("DELETE") || has("INSERT") {
        (vec![], vec![])
    } else if has("s.details") {
        (vec![TEXT, TEXT, BYTES], vec![vec![text("0190-1"), story(), None]])
    } else if has("r.id, s.story") {
        (vec![TEXT, TEXT], vec![vec![text("0190-1"), story()]])
    } else if has("r.id, r.run_id, r.name") {
        let texts = ["0190-1", "run-1", "shop", "done"].map(text).to_vec();
        let values = [
            texts,
            vec![
                None,
                text("local"),
                None,
                None,
                text("[\"postgres\"]"),
                number(1_790_000_000_000),
                None,
                None,
            ],
        ]
        .concat();
        ([vec![TEXT; 9], vec![NUMBER; 3]].concat(), vec![values])
    } else if has("SELECT info, gzip") {
        let log = Log::new(info(), "ready\n");
        (vec![TEXT, BYTES], vec![vec![text(&serde_json::to_string(&log.info).unwrap()), Some(log.gzip)]])
    } else if has("SELECT info FROM") {
        (vec![TEXT], vec![vec![text(&serde_json::to_string(&info()).unwrap())]])
    } else if has("count(*)") || has("sum(") || has("pg_table_size") {
        (vec![NUMBER], vec![vec![number(1)]])
    } else if has("SELECT began, id") {
        (vec![NUMBER, TEXT], vec![vec![number(1_790_000_000_000), text("0190-1")]])
    } else {
        // Such as a lock on a record that is not there.
        (vec![TEXT], vec![])
    }
}

fn tag(sql: &str) -> &'static str {
    match sql.split_whitespace().next() {
        Some("DELETE") => "DELETE 1",
        Some("INSERT") => "INSERT 0 1",
        _ => "SELECT 1",
    }
}

const READY: &[u8] = b"I";

pub(super) fn converse(mut liar: Liar) -> Result<(), Over> {
    loop {
        let length = u32::from_be_bytes(liar.read(4)?.try_into().unwrap()) as usize;
        let startup = liar.read(length - 4)?;
        if startup == [0x04, 0xd2, 0x16, 0x2f] {
            // No TLS. It is no place of its own: where it is not wanted, nobody asks.
            std::io::Write::write_all(&mut liar.stream, b"N")?;
            continue;
        }
        break;
    }
    // A password, under a salt.
    liar.say(&[message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4])])?;
    request(&mut liar)?;
    let parameters = [&b"server_version\x0017.2\0"[..], b"client_encoding\0UTF8\0"]
        .map(|parameter| message(b'S', parameter));
    let keys = message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2]);
    liar.say(
        &[vec![message(b'R', &[0; 4])], parameters.to_vec(), vec![keys, message(b'Z', READY)]].concat(),
    )?;
    let (mut known, mut bound, mut said) = (HashMap::new(), String::new(), Vec::new());
    loop {
        let (kind, body) = request(&mut liar)?;
        let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        match kind {
            b'P' => {
                known.insert(first, second);
                said.push(message(b'1', &[]));
            }
            b'B' => {
                bound = known.get(&second).cloned().unwrap_or_default();
                said.push(message(b'2', &[]));
            }
            b'D' => {
                let (types, _) = answer(known.get(&first[1..]).unwrap_or(&bound));
                said.push(message(b't', &[0, 0]));
                said.push(if types.is_empty() { message(b'n', &[]) } else { columns(&types) });
            }
            b'E' => {
                said.extend(answer(&bound).1.iter().map(|values| row(values)));
                said.push(done(tag(&bound)));
            }
            b'C' => said.push(message(b'3', &[])),
            b'Q' => {
                said.push(done("BEGIN"));
                said.push(message(b'Z', READY));
                liar.say(&std::mem::take(&mut said))?;
            }
            b'S' => {
                said.push(message(b'Z', READY));
                liar.say(&std::mem::take(&mut said))?;
            }
            _ => return Ok(()),
        }
    }
}

fn request(liar: &mut Liar) -> Result<(u8, Vec<u8>), Over> {
    let head = liar.read(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
    Ok((head[0], liar.read(length - 4)?))
}

/// Does something to each message of a kind.
fn each(honest: &[Vec<u8>], kind: u8, change: impl Fn(&[u8]) -> Vec<u8>) -> Said {
    let changed = honest
        .iter()
        .map(|said| if said[0] == kind { message(kind, &change(&said[5..])) } else { said.clone() });
    Said::going_on(changed.collect::<Vec<_>>().concat())
}

/// Puts messages before the others.
fn first(honest: &[Vec<u8>], said: &[Vec<u8>]) -> Said {
    Said::going_on([said.concat(), honest.concat()].concat())
}

/// Says nothing but this, and that it is ready.
fn only(said: &[Vec<u8>]) -> Said {
    Said::going_on([said.concat(), message(b'Z', READY)].concat())
}

fn endless(said: Vec<u8>) -> Said {
    Said { bytes: Vec::new(), then: Then::Repeats(said) }
}

/// The columns' types, each another one.
fn with_type(body: &[u8], kind: u32) -> Vec<u8> {
    let count = u16::from_be_bytes(body[..2].try_into().unwrap());
    columns(&vec![kind; count.into()])[5..].to_vec()
}

/// The values of a row.
fn values(body: &[u8], change: impl Fn(Option<&[u8]>) -> Option<Vec<u8>>) -> Vec<u8> {
    let (count, mut rest) = body.split_at(2);
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(count.try_into().unwrap()) {
        let (length, after) = rest.split_at(4);
        let length = i32::from_be_bytes(length.try_into().unwrap());
        let (value, after) = after.split_at(length.max(0) as usize);
        rest = after;
        values.push(change((length >= 0).then_some(value)));
    }
    row(&values)[5..].to_vec()
}

fn error(fields: &[u8]) -> Vec<u8> {
    message(b'E', fields)
}

type Own = (&'static str, fn(&[Vec<u8>]) -> Said);

pub(super) const OWN: [Own; 44] = [
    ("nothing known", |honest| each(honest, b'D', |body| values(body, |_| None))),
    ("values that are empty", |honest| each(honest, b'D', |body| values(body, |_| Some(Vec::new())))),
    ("values that are no text", |honest| {
        each(honest, b'D', |body| values(body, |value| Some(vec![0xff; value.unwrap_or_default().len()])))
    }),
    ("values of zeros", |honest| {
        each(honest, b'D', |body| values(body, |value| Some(vec![0; value.unwrap_or_default().len()])))
    }),
    ("values of 63 bytes", |honest| each(honest, b'D', |body| values(body, |_| Some(vec![b'7'; 63])))),
    ("values of 20 MiB", |honest| each(honest, b'D', |body| values(body, |_| Some(vec![b'x'; 20 << 20])))),
    ("values that are deep JSON", |honest| {
        each(honest, b'D', |body| values(body, |_| Some(vec![b'['; 200_000])))
    }),
    ("texts for numbers", |honest| each(honest, b'T', |body| with_type(body, TEXT))),
    ("numbers for texts", |honest| each(honest, b'T', |body| with_type(body, NUMBER))),
    ("bytes for all", |honest| each(honest, b'T', |body| with_type(body, BYTES))),
    ("a type that is nobody's", |honest| each(honest, b'T', |body| with_type(body, NOBODYS))),
    ("a parameter's type that is nobody's", |honest| {
        each(honest, b't', |_| [&[0, 1][..], &NOBODYS.to_be_bytes()].concat())
    }),
    ("no columns", |honest| each(honest, b'T', |_| vec![0, 0])),
    ("a column too many", |honest| {
        each(honest, b'T', |body| columns(&vec![TEXT; usize::from(body[1]) + 1])[5..].to_vec())
    }),
    ("columns that are not there", |honest| each(honest, b'T', |body| [&[0xff, 0xff], &body[2..]].concat())),
    ("a negative number of columns", |honest| each(honest, b'T', |body| [&[0x80, 0], &body[2..]].concat())),
    ("a column without an end", |honest| each(honest, b'T', |_| b"\0\x01name".to_vec())),
    ("no values", |honest| each(honest, b'D', |_| vec![0, 0])),
    ("values too few", |honest| each(honest, b'D', |body| [&[0, 1][..], &body[2..]].concat())),
    ("values that are not there", |honest| each(honest, b'D', |body| [&[0x7f, 0xff], &body[2..]].concat())),
    ("a value longer than its row", |honest| each(honest, b'D', |_| vec![0, 1, 0x7f, 0xff, 0xff, 0xff, 1])),
    ("a value of a negative length", |honest| each(honest, b'D', |_| vec![0, 1, 0x80, 0, 0, 0, 1])),
    ("two rows", |honest| {
        let rows = |said: &Vec<u8>| said.repeat(if said[0] == b'D' { 2 } else { 1 });
        Said::going_on(honest.iter().flat_map(rows).collect())
    }),
    ("no rows", |honest| {
        Said::going_on(honest.iter().filter(|said| said[0] != b'D').flatten().copied().collect())
    }),
    ("endless rows", |honest| {
        let until = honest.iter().position(|said| said[0] == b'D').unwrap_or_default();
        Said { bytes: honest[..until].concat(), then: Then::Repeats(honest[until].clone()) }
    }),
    ("endless rows of nothing", |honest| {
        let until = honest.iter().position(|said| said[0] == b'D').unwrap_or_default();
        Said { bytes: honest[..until].concat(), then: Then::Repeats(values_of_nothing(&honest[until])) }
    }),
    ("a tag without a number", |honest| each(honest, b'C', |_| b"SELECT\0".to_vec())),
    ("a tag with the largest number", |honest| {
        each(honest, b'C', |_| b"DELETE 18446744073709551615\0".to_vec())
    }),
    ("a tag that is no text", |honest| each(honest, b'C', |_| b"\xff\xfe\xfd\0".to_vec())),
    ("a tag without an end", |honest| each(honest, b'C', |_| b"SELECT 1".to_vec())),
    ("endless notices", |_| endless(message(b'N', b"SNOTICE\0C00000\0Mmore\0\0"))),
    ("endless parameters", |_| endless(message(b'S', b"server_version\x0017\0"))),
    ("endless notifications", |_| endless(message(b'A', b"\0\0\0\x01channel\0payload\0"))),
    ("a parameter that is no text", |honest| first(honest, &[message(b'S', b"server_version\0\xff\xfe\0")])),
    ("a parameter that is cut off", |honest| first(honest, &[message(b'S', b"server_version")])),
    ("an error", |_| only(&[error(b"SFATAL\0VFATAL\0C57P03\0Mnot now\0\0")])),
    ("an error that is no text", |_| only(&[error(b"S\xff\xfe\0C28P01\0M\xff\xff\0\0")])),
    ("an error that is cut off", |_| only(&[error(b"SFATAL")])),
    ("an error without fields", |_| only(&[error(b"\0")])),
    ("an error of many lines with escape sequences", |_| {
        only(&[error(b"SERROR\0CXX000\0M\x1b[2J\nerror: sesam\n\r\nhint: x\0\0")])
    }),
    ("a password in clear text is wanted", |honest| first(honest, &[message(b'R', &[0, 0, 0, 3])])),
    ("authentications that nobody knows", |_| {
        only(&[message(b'R', &[0, 0, 0, 99]), message(b'R', &[0, 0, 0, 10, b'X', 0, 0])])
    }),
    ("an authentication that goes on", |_| {
        only(&[message(b'R', &[0, 0, 0, 11, 1, 2, 3]), message(b'R', &[0, 0, 0, 12])])
    }),
    ("a copy begins", |_| {
        only(&[
            message(b'G', &[0, 0, 0]),
            message(b'H', &[0, 0xff, 0xff]),
            message(b'd', b"x"),
            message(b'c', &[]),
        ])
    }),
];

/// A row of as many values, of which none is known.
fn values_of_nothing(said: &[u8]) -> Vec<u8> {
    if said[0] == b'D' { message(b'D', &values(&said[5..], |_| None)) } else { said.to_vec() }
}
