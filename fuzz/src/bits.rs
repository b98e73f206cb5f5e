//! Numbers out of the fuzzer's bytes, and floats compared to the bit.

/// Takes numbers off the front of some bytes; zeros when they are used up.
#[derive(Debug)]
pub struct Numbers<'a> {
    rest: &'a [u8],
}

impl<'a> Numbers<'a> {
    /// The numbers of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    /// The next two bytes as a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % end
    }

    /// The next `len` bytes, or as many as there are.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// `len` bytes: those of `pattern` over and over, or zeros where it is empty.
pub fn repeated(pattern: &[u8], len: usize) -> Vec<u8> {
    let pattern = if pattern.is_empty() { &[0] } else { pattern };
    pattern.iter().copied().cycle().take(len).collect()
}

/// The bits of each float. Which of its many forms "not a number" takes is up to the processor.
pub fn bits(floats: &[f32]) -> Vec<u32> {
    let form = |x: &f32| if x.is_nan() { f32::NAN } else { *x }.to_bits();
    floats.iter().map(form).collect()
}
