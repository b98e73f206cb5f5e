//! Loops in the widest vectors of the processor: the only door to `pulp`.
//!
//! What is inlined into [`widest`] is compiled for each width of vectors, and the sums here run in a
//! fixed number of lanes, so that the bits are the same on every processor.

/// Numbers that are summed or compared side by side.
const LANES: usize = 16;

/// What [`widest`] does. Closures of a short loop or two will do; longer ones are not inlined, and then
/// run in the narrowest vectors: `call` of a type can be `#[inline(always)]`, as no closure can.
pub use pulp::NullaryFnOnce as Work;

/// Does `work` with the widest vectors that this processor has, in what is inlined into it. Nothing is
/// fused or put in another order.
pub fn widest<R>(work: impl Work<Output = R>) -> R {
    pulp::Arch::new().dispatch(work)
}

/// The largest of the numbers, -∞ of none; what is not a number is passed over.
#[inline(always)]
#[must_use]
pub fn largest(numbers: &[f32]) -> f32 {
    let (parts, rest) = numbers.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for part in parts {
        for lane in 0..LANES {
            lanes[lane] = if part[lane] > lanes[lane] {
                part[lane]
            } else {
                lanes[lane]
            };
        }
    }
    let all = lanes.iter().chain(rest);
    all.copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of what `of` makes of each number.
#[inline(always)]
pub fn sum(numbers: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    sum_of_pairs(numbers, numbers, |number, _| f64::from(of(number)))
}

/// The sum of what `of` makes of each pair; numbers without a partner are passed over.
#[inline(always)]
pub fn sum_of_pairs(a: &[f32], b: &[f32], of: impl Fn(f32, f32) -> f64) -> f64 {
    let length = a.len().min(b.len());
    let (a, b) = (
        a[..length].as_chunks::<LANES>(),
        b[..length].as_chunks::<LANES>(),
    );
    let mut lanes = [0.0; LANES];
    for (a, b) in a.0.iter().zip(b.0) {
        for lane in 0..LANES {
            lanes[lane] += of(a[lane], b[lane]);
        }
    }
    for (lane, (a, b)) in a.1.iter().zip(b.1).enumerate() {
        lanes[lane] += of(*a, *b);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_find_what_a_plain_loop_finds() {
        for length in [0, 1, 15, 16, 17, 40, 67] {
            #[expect(clippy::cast_precision_loss, reason = "small whole numbers")]
            let a: Vec<f32> = (0..length).map(|i| (i * 37 % 23) as f32 - 11.0).collect();
            let b: Vec<f32> = a.iter().map(|x| x * 0.5 + 1.0).collect();
            let plain: f64 = a.iter().map(|x| f64::from(x * x)).sum();
            assert_eq!(widest(|| sum(&a, |x| x * x)), plain, "{length}");
            let pairs = a.iter().zip(&b);
            let plain: f64 = pairs.map(|(a, b)| f64::from(a * b)).sum();
            let found = sum_of_pairs(&a, &b, |a, b| f64::from(a * b));
            assert!((found - plain).abs() < 1e-9, "{length}");
            let top = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(widest(|| largest(&a)), top, "{length}");
        }
        assert_eq!(largest(&[f32::NAN, 2.0, f32::NAN]), 2.0);
    }
}
