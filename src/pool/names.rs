//! What pools' databases and templates are called.

use super::core::Id;

/// What the names of all pools' databases begin with.
pub(super) const PREFIX: &str = "testbed_pool_";
/// What the name of a template's database that is finalized ends with.
pub(super) const CLOSED: &str = "_closed";
/// What the name of a database ends with that shows whether any can be made.
pub(super) const PROBE: &str = "probe";
/// The hash of the template that a seed of the run has made.
pub(super) const SEED: &str = "testbed";

/// The name of the pool that a database belongs to.
pub(super) fn pool_of(name: &str) -> Option<&str> {
    let (id, kind) = name.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = id.len() == 16 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = kind.strip_prefix("test_").or_else(|| kind.strip_prefix("template_"));
    let number = number.map(|number| number.strip_suffix(CLOSED).unwrap_or(number));
    let is_number = number.is_some_and(|number| number.parse::<Id>().is_ok());
    let is_own = is_id && (is_number || kind == PROBE);
    name.get(..PREFIX.len() + id.len()).filter(|_| is_own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_pools_have_made_is_a_pools() {
        for kind in ["test_1", "template_23", "template_4_closed", "probe"] {
            let pool = "testbed_pool_00000000000000ff";
            assert_eq!(pool_of(&format!("{pool}_{kind}")), Some(pool), "{kind}");
        }
        for name in [
            "testbed_pool_archive",
            "testbed_pool_00000000000000ff",
            "testbed_pool_00000000000000ff_mine",
            "testbed_pool_00000000000000ff_test_x",
            "testbed_pool_00000000000000ff_test_1_mine",
            "testbed_pool_00000000000000FF_test_1",
            "testbed_pool_+0000000000000ff_test_1",
            "TESTBED_POOL_00000000000000ff_test_1",
            "testbed_pool_0ff_test_1",
        ] {
            assert_eq!(pool_of(name), None, "{name}");
        }
    }
}
