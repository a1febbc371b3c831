//! A container's log on its way into a store: its head and its tail, up to a limit, compressed.

use std::io::{Read, Write};

use anyhow::Context;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::record::LogInfo;

/// A log with its text, in gzip.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// Which one, and how much of it.
    pub info: LogInfo,
    /// The compressed text.
    pub gzip: Vec<u8>,
}

impl Log {
    /// Compresses a text that is free of secrets. Sets `kept`.
    pub fn new(mut info: LogInfo, text: &str) -> Self {
        info.kept = text.len() as u64;
        Self { info, gzip: compress(text.as_bytes()) }
    }

    /// The text.
    ///
    /// # Errors
    /// When the stored bytes are damaged.
    pub fn text(&self) -> anyhow::Result<String> {
        let LogInfo { source, container, .. } = &self.info;
        let bytes = decompress(&self.gzip).with_context(|| format!("reading the stored log of {source} {container}"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Makes bytes smaller, in gzip.
pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Undoes it.
pub(super) fn decompress(gzip: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut bytes)?;
    Ok(bytes)
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
}
