//! The key that a MySQL server sends for the password, read before it is passed on: over bytes that are no
//! key the library panics, and with one of a million digits it computes without end.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;

use super::refusal::Refusal;

/// The lengths of a key, in bits. MySQL makes keys of 2048.
const BITS: RangeInclusive<usize> = 512..=16_384;
/// The bytes of its exponent, which is nearly always 65537.
const EXPONENT: RangeInclusive<usize> = 1..=4;
/// What the padding takes: two hashes and two bytes.
const PADDING: usize = 42;

const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;
const SEQUENCE: u8 = 0x30;

/// Checks the packet with the key, for a password of so many bytes.
pub(super) fn check(packet: &[u8], password: usize) -> Result<(), Refusal> {
    let bits = packet.get(1..).and_then(bits).filter(|bits| BITS.contains(bits));
    let bits = bits.ok_or_else(|| Refusal::unfit("the server sends a key for the password that is none"))?;
    // As the library counts them. The password goes with the byte that ends it.
    if password + 1 + PADDING > (bits + 6) / 8 {
        return Err(Refusal::unfit(format!("the password is too long for the server's key of {bits} bits")));
    }
    Ok(())
}

/// The length of a key; `None` for what is no key, or has an exponent that is none.
fn bits(pem: &[u8]) -> Option<usize> {
    let pem = pem.trim_ascii().strip_suffix(b"\0").unwrap_or(pem).trim_ascii();
    let body = |kind: &str| {
        let begun = pem.strip_prefix(format!("-----BEGIN {kind}-----").as_bytes())?;
        begun.strip_suffix(format!("-----END {kind}-----").as_bytes()).and_then(decode)
    };
    if let Some(der) = body("RSA PUBLIC KEY") {
        return numbers(&der);
    }
    let der = body("PUBLIC KEY")?;
    let (_algorithm, rest) = part(whole(&der, SEQUENCE)?, SEQUENCE)?;
    let (unused, key) = whole(rest, BIT_STRING)?.split_first()?;
    (*unused == 0).then(|| numbers(key)).flatten()
}

/// Of the modulus.
fn numbers(der: &[u8]) -> Option<usize> {
    let (modulus, rest) = part(whole(der, SEQUENCE)?, INTEGER)?;
    let exponent = without_zeros(whole(rest, INTEGER)?);
    let modulus = without_zeros(modulus);
    let is_odd = modulus.last()? % 2 == 1;
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    (is_odd && EXPONENT.contains(&exponent.len())).then_some(bits)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// What is in a part that is all there is.
fn whole(der: &[u8], tag: u8) -> Option<&[u8]> {
    part(der, tag).filter(|(_, rest)| rest.is_empty()).map(|(inner, _)| inner)
}

/// The first part, if it is of this kind, and the rest. Lengths have to be written in as few bytes as can be.
fn part(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match der.strip_prefix(&[tag])? {
        [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        [0x81, length @ 0x80..=0xff, rest @ ..] => (usize::from(*length), rest),
        [0x82, high @ 1..=0xff, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Base64 as strictly as the library reads it: with white space anywhere and nothing left over.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(digits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxSKOcxiet8lLMn8ImyUE
bGGKob5EdRz/4wdiw12ED0GfKKTKhVnodFCfm1mdy7bKOX5QxL9skrvYodpW43eR
R5bfOzIgy1qIB8RYb6qOXRBw1oA4snBDqtUjDv/lbHLJN+IbzM4oU+e3Lt9rXyLX
VY289ewONPweXHqSCnTL91w+wkU1peIFV2QhZ+upUCdCtwOn5hnJPNgxtbklFoya
C8W3Z7Xx7He2QDJsEWAqX197efw0L6j8X8Tyd8Uwb7zUB1tfMGhHfm9EwejPAtzx
4GztQNtNMtGS2oGZLQBLV9hib4dDL92iiZeckg2LAf4GsJofLLR8mcHCRoqVbQJ1
YQIDAQAB
-----END PUBLIC KEY-----
";

    fn message(key: &[u8], password: usize) -> Option<String> {
        check(&[b"\x01", key].concat(), password).err().map(|refusal| refusal.message)
    }

    fn pem(der: &[u8]) -> String {
        format!("-----BEGIN RSA PUBLIC KEY-----{}-----END RSA PUBLIC KEY-----", STANDARD.encode(der))
    }

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        let head = match content.len() {
            ..0x80 => vec![tag, length[7]],
            0x80..0x100 => vec![tag, 0x81, length[7]],
            _ => vec![tag, 0x82, length[6], length[7]],
        };
        [&head, content].concat()
    }

    fn key(modulus: &[u8], exponent: &[u8]) -> String {
        pem(&element(SEQUENCE, &[element(INTEGER, modulus), element(INTEGER, exponent)].concat()))
    }

    #[test]
    fn a_key_is_taken_for_as_long_a_password_as_it_can_hold() {
        assert_eq!(message(KEY.as_bytes(), 12), None);
        assert_eq!(message(KEY.as_bytes(), 213), None);
        assert_eq!(
            message(KEY.as_bytes(), 214),
            Some("the password is too long for the server's key of 2048 bits".into())
        );
        assert_eq!(message(key(&[0xff; 128], &[1, 0, 1]).as_bytes(), 12), None);
    }

    #[test]
    fn what_is_no_key_is_not_passed_on() {
        let long = [1; 2049];
        for key in [
            String::new(),
            "-----BEGIN PUBLIC KEY-----\n".into(),
            KEY.replace("MIIB", "MII-"),
            KEY.replace("QAB\n", "QA\n"),
            KEY.replace("MIIBIj", "MIIBIz"),
            KEY.replace("PUBLIC", "RSA PUBLIC"),
            format!("{KEY}{KEY}"),
            pem(&[]),
            pem(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]),
            key(&[], &[3]),
            key(&[0; 128], &[3]),
            key(&[0xfe; 128], &[3]),
            key(&[0xff; 63], &[3]),
            key(&long, &[3]),
            key(&[0xff; 128], &[0]),
            key(&[0xff; 128], &[1; 5]),
        ] {
            assert_eq!(
                message(key.as_bytes(), 12),
                Some("the server sends a key for the password that is none".into()),
                "{key}"
            );
        }
        assert!(check(&[], 12).is_err());
    }
}
