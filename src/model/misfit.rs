//! Weights that are not what they have to be: how many, and where the first one is.

use std::fmt;

/// Some weights of a tensor that do not fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Misfit {
    /// How many there are, at least one.
    pub count: usize,
    /// Row of the first, from 0.
    pub row: usize,
    /// Its column, from 0.
    pub col: usize,
    /// The first.
    pub value: f32,
}

impl Misfit {
    /// Looks through a tensor `[rows, cols]` that `read` gives row by row for what `is_one`; nothing
    /// when all weights fit. For the way to an error: nothing here is fast.
    #[must_use]
    pub fn find(
        (rows, cols): (usize, usize),
        mut read: impl FnMut(usize, &mut [f32]),
        is_one: impl Fn(f32) -> bool,
    ) -> Option<Self> {
        let mut found: Option<Self> = None;
        let mut weights = vec![0.0; cols];
        for row in 0..rows {
            read(row, &mut weights);
            for (col, value) in weights.iter().copied().enumerate() {
                if !is_one(value) {
                    continue;
                }
                match &mut found {
                    Some(found) => found.count += 1,
                    None => {
                        found = Some(Self {
                            count: 1,
                            row,
                            col,
                            value,
                        });
                    }
                }
            }
        }
        found
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            row,
            col,
            value,
        } = self;
        match count {
            1 => write!(f, "{value} in row {row}, column {col} (from 0)"),
            _ => write!(
                f,
                "{count} that are not, the first {value} in row {row}, column {col} (from 0)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_with_its_place_and_all_are_counted() {
        let weights = [1.0, f32::NAN, 3.0, 4.0, f32::INFINITY, f32::NAN];
        let find = |is_one: fn(f32) -> bool| {
            let read = |row: usize, out: &mut [f32]| out.copy_from_slice(&weights[3 * row..][..3]);
            Misfit::find((2, 3), read, is_one).map(|found| found.to_string())
        };
        let said = "3 that are not, the first NaN in row 0, column 1 (from 0)";
        assert_eq!(find(|w| !w.is_finite()).as_deref(), Some(said));
        let said = "4 in row 1, column 0 (from 0)";
        assert_eq!(find(|w| w == 4.0).as_deref(), Some(said));
        assert_eq!(find(|w| w == 7.0), None);
    }
}
