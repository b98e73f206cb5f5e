//! Damage to files as it happens, and as somebody would do it who wants a parser to trust a number: the same for
//! the same number on every machine.

/// Marsaglia's xorshift (2003) with 64 bits of state, times a constant as in xorshift64*.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of this number.
    pub(crate) fn new(number: u64) -> Self {
        // Neighbouring numbers must not begin alike, and zero never moves.
        let mut random = Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// Lengths and counts that a file may claim and no machine holds.
const HUGE: [u64; 7] = [
    u64::MAX,
    1 << 63,
    (1 << 63) - 1,
    1 << 32,
    u32::MAX as u64,
    1 << 31,
    0,
];
/// Bits of f32 and of pairs of f16: NaN, infinities, the largest, subnormal.
const FLOATS: [u32; 6] = [
    0x7fc0_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7f7f_ffff,
    0x0000_0001,
    0x7e00_7c00,
];
/// What stands for a number in a text.
const NUMBERS: [&str; 8] = [
    "-1",
    "0",
    "1e400",
    "nan",
    "18446744073709551616",
    "0.1",
    "\"\"",
    "[]",
];

/// The file of this number: between one and three damages to `good`.
pub(crate) fn mutated(good: &[u8], number: u64) -> Vec<u8> {
    let mut random = Random::new(number);
    let mut bytes = good.to_vec();
    let is_text = std::str::from_utf8(good).is_ok();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            break;
        }
        match (random.below(8), is_text) {
            (0..4, true) => damage_text(&mut bytes, &mut random),
            _ => damage(&mut bytes, &mut random),
        }
    }
    bytes
}

/// A place; every other time near the start, where headers are.
fn place(bytes: &[u8], random: &mut Random) -> usize {
    let end = match random.below(2) {
        0 => bytes.len(),
        _ => bytes.len().min(512),
    };
    random.below(end)
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = place(bytes, random);
    let put = |bytes: &mut Vec<u8>, at: usize, new: &[u8]| {
        let end = bytes.len().min(at + new.len());
        bytes[at..end].copy_from_slice(&new[..end - at]);
    };
    match random.below(8) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.one_of(&[0, 0x7f, 0x80, 0xff]),
        2 => bytes.truncate(at),
        // Lengths stand on multiples of four in most formats.
        3 => put(bytes, at / 4 * 4, &random.one_of(&HUGE).to_le_bytes()),
        4 => {
            let value = u32::try_from(random.one_of(&HUGE) & 0xffff_ffff).unwrap();
            put(bytes, at / 4 * 4, &value.to_le_bytes());
        }
        5 => put(bytes, at / 4 * 4, &random.one_of(&FLOATS).to_le_bytes()),
        6 => {
            let length = 1 + random.below(64);
            let piece: Vec<u8> = bytes[at..bytes.len().min(at + length)].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => {
            let end = bytes.len().min(at + 1 + random.below(64));
            bytes.drain(at..end);
        }
    }
}

fn damage_text(bytes: &mut Vec<u8>, random: &mut Random) {
    let is_digit = |b: &u8| b.is_ascii_digit();
    match random.below(4) {
        // A number becomes another.
        0 => {
            let from = place(bytes, random);
            let Some(start) = bytes[from..].iter().position(is_digit).map(|n| from + n) else {
                return;
            };
            let digits = bytes[start..].iter().take_while(|b| is_digit(b)).count();
            let number = random.one_of(&NUMBERS);
            bytes.splice(start..start + digits, number.bytes());
        }
        // A line goes, or comes twice.
        1 | 2 => {
            let at = place(bytes, random);
            let start = bytes[..at]
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |n| n + 1);
            let end = bytes[at..].iter().position(|b| *b == b'\n');
            let end = end.map_or(bytes.len(), |n| at + n + 1);
            let line = bytes[start..end].to_vec();
            match random.below(2) {
                0 => drop(bytes.drain(start..end)),
                _ => drop(bytes.splice(start..start, line)),
            }
        }
        _ => {
            let at = place(bytes, random);
            let deep = random.one_of(&[&b"\xff"[..], b"[[[[[[[[[[[[", b"\"", b"{", b"\0"]);
            bytes.splice(at..at, deep.iter().copied());
        }
    }
}
