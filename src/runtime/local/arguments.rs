//! What a manifest's arguments for a server may not do here.

/// Stands in a word of which the container alone knows a part; no argument can have it.
pub(super) const UNKNOWN: char = '\0';

/// Whether a value names something outside the server's own folder, or is not known. Lists have colons, semicolons or
/// commas between their parts.
pub(super) fn leads_out(value: &str) -> bool {
    let is_outside = |part: &str| {
        let part = part.trim_matches([' ', '\'', '"']);
        part.starts_with(['/', '~']) || part.split('/').any(|folder| folder == "..")
    };
    value.contains(UNKNOWN) || value.split([':', ';', ',', '=']).any(is_outside)
}
