//! What a manifest's arguments for a server may not do here.

/// Whether a value names something outside the server's own folder, or has a variable in it that the container alone
/// knows. Lists have colons, semicolons or commas between their parts.
pub(super) fn leads_out(value: &str) -> bool {
    let is_outside = |part: &str| {
        let part = part.trim_matches([' ', '\'', '"']);
        part.starts_with(['/', '~']) || part.split('/').any(|folder| folder == "..")
    };
    value.contains("$(") || value.split([':', ';', ',', '=']).any(is_outside)
}
