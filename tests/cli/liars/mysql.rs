//! A MySQL that answers what `wait` asks, and the lies that only MySQL's protocol has.

use super::{Liar, Over, Said, Then};

pub const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
pub const END: [u8; 5] = [0xfe, 0, 0, 2, 0];
const TEXT: u8 = 253;

pub fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes()[..3], &[number], body].concat()
}

/// Packets with the numbers from this one on.
fn packets(from: u8, bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    bodies.iter().zip(from..).map(|(body, number)| packet(number, body)).collect()
}

pub fn greeting(version: &str) -> Vec<u8> {
    let mut body = vec![10];
    body.extend_from_slice(version.as_bytes());
    body.extend_from_slice(b"\0\x01\0\0\0abcdefgh\0");
    // Protocol 4.1, secure connection, plugins; no TLS.
    body.extend_from_slice(&[0x08, 0xa2, 45, 2, 0, 0x08, 0, 21]);
    body.extend_from_slice(&[0; 10]);
    body.extend_from_slice(b"ijklmnopqrst\0mysql_native_password\0");
    body
}

pub fn column(kind: u8) -> Vec<u8> {
    [b"\x03def\0\0\0\x01c\x01c\x0c".to_vec(), vec![45, 0, 0xff, 0, 0, 0, kind, 0, 0, 0, 0, 0]].concat()
}

fn table(columns: &[u8], rows: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let heads = columns.iter().map(|kind| column(*kind));
    let bodies = std::iter::once(vec![columns.len() as u8])
        .chain(heads)
        .chain([END.to_vec()])
        .chain(rows.to_vec())
        .chain([END.to_vec()]);
    packets(1, &bodies.collect::<Vec<_>>())
}

pub(super) fn converse(mut liar: Liar) -> Result<(), Over> {
    liar.say(&[packet(0, &greeting("9.7.0"))])?;
    request(&mut liar)?;
    liar.say(&[packet(2, &OK)])?;
    loop {
        let body = request(&mut liar)?;
        let sql = String::from_utf8_lossy(body.get(1..).unwrap_or_default()).into_owned();
        let said = match body.first() {
            Some(3) if sql.contains("Uptime") => table(&[TEXT, TEXT], &[b"\x06Uptime\x0242".to_vec()]),
            Some(3) => table(&[TEXT], &[b"\x011".to_vec()]),
            Some(1) | None => return Ok(()),
            Some(_) => packets(1, &[OK.to_vec()]),
        };
        liar.say(&said)?;
    }
}

fn request(liar: &mut Liar) -> Result<Vec<u8>, Over> {
    let head = liar.read(4)?;
    liar.read(u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize)
}

/// The number of the packet that is the first of an answer.
fn number(honest: &[Vec<u8>]) -> u8 {
    honest[0][3]
}

/// Says nothing but these.
fn only(honest: &[Vec<u8>], bodies: &[&[u8]]) -> Said {
    let bodies: Vec<Vec<u8>> = bodies.iter().map(|body| body.to_vec()).collect();
    Said::going_on(packets(number(honest), &bodies).concat())
}

fn error(text: &[u8]) -> Vec<u8> {
    [&[0xff, 0x15, 0x04][..], b"#28000", text].concat()
}

/// With another row in the place of a table's.
fn row(columns: &[u8], row: &[u8]) -> Said {
    Said::going_on(table(columns, &[row.to_vec()]).concat())
}

/// The numbers of packets begin anew after 256 of them.
fn endless(bodies: &[Vec<u8>], again: &[u8]) -> Said {
    let next = 1 + bodies.len() as u8;
    let again = (0..=255_u8).flat_map(|number| packet(next.wrapping_add(number), again)).collect();
    Said { bytes: packets(1, bodies).concat(), then: Then::Repeats(again) }
}

type Own = (&'static str, fn(&[Vec<u8>]) -> Said);

pub(super) const OWN: [Own; 32] = [
    ("another number", |honest| {
        Said::going_on(
            honest
                .iter()
                .map(|said| packet(said[3].wrapping_add(77), &said[4..]))
                .collect::<Vec<_>>()
                .concat(),
        )
    }),
    ("a word for a number", |_| row(&[TEXT, TEXT], b"\x06Uptime\x03abc")),
    ("a number too large", |_| row(&[TEXT, TEXT], b"\x06Uptime\x1499999999999999999999")),
    ("a negative number", |_| row(&[TEXT, TEXT], b"\x06Uptime\x02-1")),
    ("a column too few", |_| row(&[TEXT], b"\x06Uptime")),
    ("a column too many", |_| row(&[TEXT; 3], b"\x06Uptime\x0242\x0242")),
    ("a value too few", |_| row(&[TEXT, TEXT], b"\x06Uptime")),
    ("nothing known", |_| row(&[TEXT, TEXT], &[0xfb, 0xfb])),
    ("a value that is no text", |_| row(&[TEXT, TEXT], b"\x06Uptime\x03\xff\xfe\xfd")),
    ("a value that is cut off", |_| row(&[TEXT, TEXT], b"\x06Uptime\xfe\xff\xff\xff\xff\xff\xff\xff\x7f")),
    ("a value with a length of none", |_| row(&[TEXT, TEXT], b"\xff\xff")),
    ("a date for a number", |_| row(&[TEXT, 12], b"\x06Uptime\x0a2026-99-99")),
    ("types that nobody knows", |_| row(&[200, 201], b"\x06Uptime\x0242")),
    ("a value of 8 MiB", |_| {
        row(&[TEXT, TEXT], &[&b"\x06Uptime\xfd\0\0\x80"[..], &vec![b'7'; 8 << 20]].concat())
    }),
    ("no row", |_| Said::going_on(table(&[TEXT, TEXT], &[]).concat())),
    ("two rows", |_| {
        Said::going_on(
            table(&[TEXT, TEXT], &[b"\x06Uptime\x0242".to_vec(), b"\x06Uptime\x0242".to_vec()]).concat(),
        )
    }),
    ("endless rows", |_| endless(&[vec![2], column(TEXT), column(TEXT), END.to_vec()], b"\x06Uptime\x0242")),
    ("endless columns", |_| endless(&[vec![0xfc, 0xff, 0xff]], &column(TEXT))),
    ("columns without number", |honest| {
        only(honest, &[&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]])
    }),
    ("a column that is cut off", |honest| only(honest, &[&[1], b"\x03de", &END, b"\x011", &END])),
    ("no columns", |honest| only(honest, &[&OK])),
    ("a file of the client's", |honest| only(honest, &[b"\xfb/etc/passwd"])),
    ("an error", |honest| only(honest, &[&error(b"not now")])),
    ("an error that is no text", |honest| only(honest, &[&error(b"\xff\xfe")])),
    ("an error that is cut off", |honest| only(honest, &[&[0xff, 0x15]])),
    ("an error of many lines with escape sequences", |honest| {
        only(honest, &[&error(b"\x1b[2J\nerror: sesam\n\r\nhint: x")])
    }),
    ("a plugin that nobody knows", |honest| only(honest, &[b"\xfeno_such_plugin\0abc\0"])),
    ("the password in clear text", |honest| only(honest, &[b"\xfemysql_clear_password\0"])),
    ("the password as of old", |honest| only(honest, &[b"\xfe"])),
    ("a plugin again and again", |honest| {
        only(
            honest,
            &[
                b"\xfemysql_native_password\0abcdefghijklmnopqrst\0",
                b"\xfemysql_native_password\0abcdefghijklmnopqrst\0",
            ],
        )
    }),
    ("more that is wanted", |honest| only(honest, &[&[1, 4], &[1, 3], &[1]])),
    ("a greeting of another protocol", |honest| only(honest, &[b"\x099.7.0\0\x01\0\0\0abcdefgh\0"])),
];
