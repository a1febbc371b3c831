//! A container's log on its way into a store: its head and its tail, up to a limit, compressed.

use std::io::Write;

use anyhow::Context;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::record::LogInfo;
use crate::reading;

/// The most that is read back from a store: of one log, or of a run's objects and events.
pub(super) const MOST: usize = 64 << 20;

/// A log with its text, in gzip.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Which one, and how much of it.
    pub info: LogInfo,
    pub gzip: Vec<u8>,
}

impl Log {
    /// Compresses a text that is free of secrets. Sets `kept`.
    pub fn new(mut info: LogInfo, text: &str) -> Self {
        info.kept = text.len() as u64;
        Self { info, gzip: compress(text.as_bytes()) }
    }

    pub fn text(&self) -> anyhow::Result<String> {
        let LogInfo { source, container, .. } = &self.info;
        let bytes = decompress(&self.gzip).with_context(|| {
            format!("reading the stored log of {}", format!("{source} {container}").trim_end())
        })?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }
}

pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

pub(super) fn decompress(gzip: &[u8]) -> std::io::Result<Vec<u8>> {
    reading::up_to(GzDecoder::new(gzip), MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back() {
        let log = Log::new(LogInfo::default(), &"größe\n".repeat(1000));
        assert_eq!((log.info.kept, log.text().unwrap()), (8000, "größe\n".repeat(1000)));
        assert!(log.gzip.len() < 200);
        let damaged = Log { gzip: log.gzip[..20].to_vec(), ..log };
        assert!(damaged.text().is_err());
    }

    #[test]
    fn a_bomb_is_refused_by_its_name() {
        let info = LogInfo { source: "postgres".into(), ..LogInfo::default() };
        let log = Log { info, gzip: compress(&vec![b'x'; MOST + 1]) };
        assert!(log.gzip.len() < 100_000);
        assert_eq!(
            format!("{:#}", log.text().unwrap_err()),
            "reading the stored log of postgres: it has more than 64 MiB"
        );
    }
}
