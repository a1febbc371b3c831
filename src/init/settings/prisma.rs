//! The `datasource` of a Prisma schema.

use super::{Hint, purpose, told};
use crate::init::dotenv::Variables;
use crate::init::{Findings, Read, url};

pub(super) fn read(file: &str, text: &str, known: &Variables, _: Read) -> Findings {
    let mut findings = Findings::default();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let mut words = line.split_whitespace();
        let Some(name) = words.next().filter(|word| *word == "datasource").and(words.next()) else {
            continue;
        };
        let (mut provider, mut address) = (None, None);
        for (_, line) in lines.by_ref() {
            let line = line.trim();
            if line.starts_with('}') {
                break;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let text = value.split('"').nth(1);
            match key.trim() {
                "provider" => provider = text,
                "url" if value.trim_start().starts_with("env(") => {
                    address = known.get(text.unwrap_or_default()).cloned();
                }
                "url" => address = text.map(str::to_owned),
                _ => {}
            }
        }
        let Some(engine) = provider.and_then(url::engine) else { continue };
        let what = format!("datasource {name}");
        let read = address.as_deref().and_then(url::read).filter(|told| told.engine == engine);
        let hint = Hint { file, line: index + 1, what: &what, purpose: purpose(file, name) };
        hint.take(read.unwrap_or_else(|| told(engine, None, None, false)), &mut findings);
    }
    findings
}
