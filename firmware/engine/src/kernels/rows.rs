//! Rows shared out over threads.

use super::Shared;
use crate::workers::Host;

/// Elements below which handing work to another thread takes longer than doing it.
const WORTH_SHARING: usize = 1 << 14;
/// Rows of one task.
const TASK_ROWS: usize = 4;

/// Calls `work` for each of `rows` rows with that row of every part, on the host's threads where
/// there is enough to do. A part is `[rows, width]`, each of a width of its own.
///
/// # Panics
/// When a part is not whole rows.
pub(super) fn for_rows<const N: usize>(
    host: &Host<'_>,
    rows: usize,
    parts: [&mut [f32]; N],
    work: &(dyn Fn(usize, [&mut [f32]; N]) + Sync),
) {
    let widths = parts.each_ref().map(|part| part.len() / rows.max(1));
    assert!(
        parts
            .iter()
            .zip(widths)
            .all(|(part, width)| part.len() == rows * width)
    );
    let elements: usize = parts.iter().map(|part| part.len()).sum();
    let parts = parts.map(Shared::new);
    let one = |row: usize| {
        // SAFETY: `one` is called once for each row, and rows do not overlap.
        let own = core::array::from_fn(|i| unsafe { parts[i].slice(row * widths[i], widths[i]) });
        work(row, own);
    };
    if elements < WORTH_SHARING {
        (0..rows).for_each(one);
    } else {
        host.workers.run(rows.div_ceil(TASK_ROWS), &|task| {
            (task * TASK_ROWS..rows.min((task + 1) * TASK_ROWS)).for_each(one);
        });
    }
}
