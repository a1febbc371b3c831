//! The part of SPDY/3.1 that Kubernetes' port-forwards speak: a pair of streams for each connection, numbered
//! by the client.
//!
//! Source: the SPDY protocol, draft 3.1, and what Kubernetes' own server makes of it: no flow control, no
//! priorities. Whatever a server says of headers is skipped, so nothing is ever decompressed.

/// The version in the first two bytes of a control frame, whose highest bit says that it is one.
const CONTROL: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;
/// `CANCEL`, of a stream's reset.
const CANCEL: u32 = 5;

/// A frame's head, in bytes.
const HEAD: usize = 8;
/// As much of a control frame as anything is read from: a stream's number, or a ping's.
const NUMBER: usize = 4;

/// How a compressed block of headers begins: zlib's own two bytes, which say that there is a dictionary, and
/// the checksum of the dictionary that SPDY prescribes. Stored blocks, as they are written here, never refer
/// to it.
const ZLIB: [u8; 6] = [0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2];
/// A stored block without content, which makes the reader pass on what came before.
const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];

#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// All blocks of headers are one compressed text, which has begun.
    has_begun: bool,
}

impl Encoder {
    /// Opens a stream. The names of headers are in lower case; name and value are short.
    pub(super) fn open(&mut self, frames: &mut Vec<u8>, stream: u32, headers: &[(&str, &str)]) {
        let mut block = Vec::new();
        let text = |block: &mut Vec<u8>, text: &str| {
            block.extend(u32::to_be_bytes(text.len() as u32));
            block.extend(text.as_bytes());
        };
        block.extend(u32::to_be_bytes(headers.len() as u32));
        for (name, value) in headers {
            text(&mut block, name);
            text(&mut block, value);
        }
        let mut payload = Vec::new();
        payload.extend(stream.to_be_bytes());
        // Belongs to no other stream; the highest priority; no credentials.
        payload.extend([0; 6]);
        if !std::mem::replace(&mut self.has_begun, true) {
            payload.extend(ZLIB);
        }
        let length = block.len() as u16;
        payload.push(0);
        payload.extend(length.to_le_bytes());
        payload.extend((!length).to_le_bytes());
        payload.extend(block);
        payload.extend(FLUSH);
        control(frames, SYN_STREAM, &payload);
    }
}

/// Sends bytes on a stream, fewer than 16 MiB.
pub(super) fn data(frames: &mut Vec<u8>, stream: u32, bytes: &[u8]) {
    frames.extend(stream.to_be_bytes());
    frames.extend(u32::to_be_bytes(bytes.len() as u32));
    frames.extend(bytes);
}

/// Says that no more bytes come on a stream.
pub(super) fn finish(frames: &mut Vec<u8>, stream: u32) {
    frames.extend(stream.to_be_bytes());
    frames.extend([FIN, 0, 0, 0]);
}

pub(super) fn reset(frames: &mut Vec<u8>, stream: u32) {
    control(frames, RST_STREAM, &[stream.to_be_bytes(), CANCEL.to_be_bytes()].concat());
}

/// Asks whether the other side is there, or answers that with the number that it has sent.
pub(super) fn ping(frames: &mut Vec<u8>, number: u32) {
    control(frames, PING, &number.to_be_bytes());
}

fn control(frames: &mut Vec<u8>, kind: u16, payload: &[u8]) {
    frames.extend(CONTROL.to_be_bytes());
    frames.extend(kind.to_be_bytes());
    frames.extend(u32::to_be_bytes(payload.len() as u32));
    frames.extend(payload);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// Some of a stream's bytes; never none.
    Data(u32, &'a [u8]),
    /// No more bytes come on a stream.
    Finished(u32),
    /// A stream is given up.
    Reset(u32),
    /// To be answered, or the answer to one's own.
    Ping(u32),
    /// No new stream is taken.
    GoAway,
}

/// Bytes of another protocol.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign;

/// Reads frames, however their bytes are cut; of a frame in the middle it keeps no more than the beginning.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    head: Vec<u8>,
    /// How much of the frame is still to come, once its head is complete.
    rest: usize,
    /// The first bytes of a control frame's payload.
    number: Vec<u8>,
}

impl Decoder {
    /// Takes what has come, and tells what it says. Nothing can be read after another protocol's bytes.
    pub(super) fn read<'a>(&mut self, mut bytes: &'a [u8]) -> Result<Vec<Said<'a>>, Foreign> {
        let mut said = Vec::new();
        loop {
            if self.head.len() < HEAD {
                let Some((first, others)) = bytes.split_first() else { return Ok(said) };
                self.head.push(*first);
                bytes = others;
                if self.head.len() < HEAD {
                    continue;
                }
                self.rest = u32::from_be_bytes([0, self.head[5], self.head[6], self.head[7]]) as usize;
            }
            let now = self.rest.min(bytes.len());
            let (part, others) = bytes.split_at(now);
            bytes = others;
            self.rest -= now;
            let is_over = self.rest == 0;
            if !is_over && now == 0 {
                return Ok(said);
            }
            if self.head[0] & 0x80 == 0 {
                let stream = u32::from_be_bytes([self.head[0], self.head[1], self.head[2], self.head[3]]);
                if !part.is_empty() {
                    said.push(Said::Data(stream, part));
                }
                if is_over && self.head[4] & FIN != 0 {
                    said.push(Said::Finished(stream));
                }
            } else {
                let wanted = NUMBER - self.number.len();
                self.number.extend(part.iter().take(wanted));
                if is_over {
                    said.extend(self.control()?);
                }
            }
            if is_over {
                self.head.clear();
                self.number.clear();
            }
        }
    }

    /// What a control frame says, once it is there as a whole.
    fn control(&self) -> Result<Option<Said<'static>>, Foreign> {
        let [a, b, c, d, flags, ..] = self.head[..] else { return Err(Foreign) };
        if u16::from_be_bytes([a, b]) != CONTROL {
            return Err(Foreign);
        }
        let number =
            <[u8; NUMBER]>::try_from(&self.number[..]).map(|number| u32::from_be_bytes(number) & 0x7fff_ffff);
        Ok(match u16::from_be_bytes([c, d]) {
            RST_STREAM => Some(Said::Reset(number.map_err(|_| Foreign)?)),
            PING => Some(Said::Ping(number.map_err(|_| Foreign)?)),
            GOAWAY => Some(Said::GoAway),
            // An answer to an opening or more headers: the only word in them is that there is nothing behind.
            _ if flags & FIN != 0 => Some(Said::Finished(number.map_err(|_| Foreign)?)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What is said, with the pieces of a stream's bytes put together.
    fn read(bytes: &[u8], size: usize) -> Result<Vec<String>, Foreign> {
        let mut decoder = Decoder::default();
        let mut told: Vec<String> = Vec::new();
        for part in bytes.chunks(size) {
            for said in decoder.read(part)? {
                match (said, told.last_mut()) {
                    (Said::Data(stream, bytes), Some(last)) if last.starts_with(&format!("{stream}:")) => {
                        last.push_str(&bytes.escape_ascii().to_string());
                    }
                    (Said::Data(stream, bytes), _) => told.push(format!("{stream}:{}", bytes.escape_ascii())),
                    (said, _) => told.push(format!("{said:?}")),
                }
            }
        }
        Ok(told)
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_however_they_are_cut(frames in vec((any::<u8>(), 0..12u8, vec(any::<u8>(), 0..40)), 0..6), size in 1..9usize) {
            let mut bytes = Vec::new();
            for (kind, flags, payload) in frames {
                // Mostly frames: other bytes are refused by the first one.
                bytes.extend([kind & 0x80, 3, 0, kind & 0x0f, flags, 0, 0, payload.len() as u8]);
                bytes.extend(payload);
            }
            prop_assert_eq!(read(&bytes, size), read(&bytes, usize::MAX));
        }
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let mut frames = vec![0x80, 3, 0, 2, 0, 0, 0, 10, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6];
        data(&mut frames, 3, b"hello ");
        data(&mut frames, 3, b"world");
        data(&mut frames, 3, b"");
        finish(&mut frames, 3);
        ping(&mut frames, 8);
        reset(&mut frames, 5);
        frames.extend([0x80, 3, 0, 2, 1, 0, 0, 4, 0, 0, 0, 7]);
        frames.extend([0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 0]);
        for size in [1, 3, 7, 1000] {
            let told = read(&frames, size).unwrap();
            assert_eq!(
                told,
                ["3:hello world", "Finished(3)", "Ping(8)", "Reset(5)", "Finished(7)", "GoAway"],
                "{size}"
            );
        }
    }

    #[test]
    fn another_protocol_is_told() {
        assert_eq!(read(b"\x80\x02\0\x06\0\0\0\x04\0\0\0\x01", 1000), Err(Foreign));
        // A reset of nothing.
        assert_eq!(read(b"\x80\x03\0\x03\0\0\0\x00", 1), Err(Foreign));
        // What is never there as a whole takes no room.
        let mut decoder = Decoder::default();
        assert_eq!(decoder.read(b"\x80\x03\0\x02\0\xff\xff\xff"), Ok(vec![]));
        assert_eq!(decoder.read(&[7; 100_000]), Ok(vec![]));
        assert_eq!(decoder.number.len(), NUMBER);
    }
}
