//! Medians and the like.

/// The middle one of sorted times; between two, their mean.
pub(super) fn median(sorted: &[u64]) -> Option<u64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(u64::midpoint(sorted[middle - 1], upper))
}

/// The smallest of sorted times that so many of a hundred do not exceed (the nearest rank, so it is one that was measured).
pub(super) fn of_hundred(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_one_or_between_two() {
        assert_eq!((median(&[]), median(&[7]), median(&[1, 9]), median(&[1, 2, 9])), (None, Some(7), Some(5), Some(2)));
    }

    #[test]
    fn a_percentile_is_one_that_was_measured() {
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(
            (of_hundred(&hundred, 95), of_hundred(&hundred[..20], 95), of_hundred(&hundred[..19], 95)),
            (Some(95), Some(19), Some(19))
        );
        assert_eq!((of_hundred(&[], 95), of_hundred(&[3], 95)), (None, Some(3)));
    }
}
