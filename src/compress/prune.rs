//! Which weights of a row become zero.

/// Zeroes all but the `kept` largest magnitudes of a row (magnitude pruning; of equals the later ones go).
pub(super) fn magnitude(row: &mut [f32], kept: usize) {
    if kept >= row.len() {
        return;
    }
    let mut order: Vec<usize> = (0..row.len()).collect();
    let magnitude = |i: &usize| row[*i].abs();
    order.select_nth_unstable_by(kept, |a, b| {
        magnitude(b).total_cmp(&magnitude(a)).then(a.cmp(b))
    });
    for i in order.split_off(kept) {
        row[i] = 0.0;
    }
}

/// Zeroes all but the largest magnitude of every four columns (of equals the first stays).
pub(super) fn one_of_four(row: &mut [f32]) {
    for four in row.chunks_mut(4) {
        let largest = (0..four.len())
            .rev()
            .max_by(|a, b| four[*a].abs().total_cmp(&four[*b].abs()));
        for (i, weight) in four.iter_mut().enumerate() {
            if Some(i) != largest {
                *weight = 0.0;
            }
        }
    }
}

/// The columns of the `kept` largest magnitudes, in order; the mask of a sparse row.
pub(super) fn kept_columns(row: &[f32], kept: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    if kept < row.len() {
        order.select_nth_unstable_by(kept, |a, b| {
            row[*b].abs().total_cmp(&row[*a].abs()).then(a.cmp(b))
        });
        order.truncate(kept);
        order.sort_unstable();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_magnitudes_stay_and_equals_are_decided_by_place() {
        let check = |row: &[f32], kept, expected: &[f32]| {
            let mut pruned = row.to_vec();
            magnitude(&mut pruned, kept);
            assert_eq!(pruned, expected);
            let columns = kept_columns(row, kept);
            assert_eq!(columns.len(), kept.min(row.len()));
            assert!(columns.iter().all(|c| pruned[*c] == row[*c]));
        };
        check(&[1.0, -3.0, 2.0, 0.5], 2, &[0.0, -3.0, 2.0, 0.0]);
        check(&[1.0, 1.0, 1.0], 1, &[1.0, 0.0, 0.0]);
        check(&[1.0, 2.0], 2, &[1.0, 2.0]);
        check(&[f32::NAN, 2.0], 0, &[0.0, 0.0]);
    }

    #[test]
    fn one_of_every_four_stays() {
        let mut row = [1.0, -2.0, 0.5, 2.0, -0.1, 0.0];
        one_of_four(&mut row);
        assert_eq!(row, [0.0, -2.0, 0.0, 0.0, -0.1, 0.0]);
    }
}
