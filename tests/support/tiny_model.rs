//! A small random model as the bytes of a GGUF file, the same on every run.
//!
//! `TinyModel::default().gguf()` is a `llama` of two layers with a byte-level vocabulary of 300
//! tokens and a chat template. Weights are random, so it talks nonsense, always the same nonsense.
//! Include with `#[path = "support/tiny_model.rs"] mod tiny_model;`.
#![allow(dead_code, reason = "each test binary uses its own part")]

use engine::float::f16_from_f32;

/// GGUF's number of a tensor type with 16-bit floats.
const F16: u32 = 1;
/// That with 32-bit floats.
pub(crate) const F32: u32 = 0;

/// The control tokens, from token 0.
pub(crate) const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// Merges in rank order, as GGUF spells them; each makes one token, from token 259.
pub(crate) const MERGES: [&str; 41] = [
    "Ġ t", "Ġ a", "i n", "h e", "r e", "o n", "Ġt he", "e r", "Ġ s", "a t", "Ġ w", "o r", "e n",
    "Ġ o", "i t", "i s", "Ġ b", "e s", "Ġ f", "in g", "o u", "Ġo f", "Ġ m", "a l", "Ġ in", "e d",
    "l l", "Ġt o", "Ġa n", "Ġan d", "a r", "l e", "v e", "Ġ h", "Ġ y", "Ġy ou", "l o", "he ll",
    "hell o", "u s", "us er",
];

/// SmolLM2's template with a shorter default system text.
pub(crate) const CHAT_TEMPLATE: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are tiny.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// What to build.
#[derive(Debug, Clone)]
pub(crate) struct TinyModel {
    /// `llama`, `qwen2` (with biases) or `qwen3` (with norms on heads).
    pub(crate) architecture: &'static str,
    pub(crate) layers: u32,
    pub(crate) hidden: u32,
    pub(crate) feed_forward: u32,
    pub(crate) heads: u32,
    pub(crate) kv_heads: u32,
    pub(crate) head_dim: u32,
    pub(crate) context: u32,
    pub(crate) head: Head,
    /// How matrices are stored whose width is whole blocks of it.
    pub(crate) stored: Stored,
    /// Which are stored otherwise: the end of a tensor's name, and how.
    pub(crate) exceptions: &'static [(&'static str, Stored)],
    pub(crate) seed: u64,
}

/// A type of `ggml.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    F32,
    Q8_0,
    Q4_1,
    Q4K,
    Q6K,
}

impl Stored {
    /// Number in `ggml.h`, columns and bytes of a block.
    fn numbers(self) -> (u32, u64, usize) {
        match self {
            Self::F32 => (F32, 1, 4),
            Self::Q8_0 => (8, 32, 34),
            Self::Q4_1 => (3, 32, 20),
            Self::Q4K => (12, 256, 144),
            Self::Q6K => (14, 256, 210),
        }
    }

    /// A block of random values of a size that keeps what goes through a matrix.
    fn block(self, random: &mut Random) -> Vec<u8> {
        let (_, _, bytes) = self.numbers();
        let mut block: Vec<u8> = (0..bytes).map(|_| random.next().to_le_bytes()[3]).collect();
        let halves: &[(usize, f32)] = match self {
            Self::F32 => &[],
            Self::Q8_0 => &[(0, 0.001)],
            Self::Q4_1 => &[(0, 0.012), (2, -0.09)],
            Self::Q4K => &[(0, 0.000_3), (2, 0.002)],
            Self::Q6K => &[(208, 0.000_02)],
        };
        for (at, value) in halves {
            let scaled = value * (1.0 + 0.3 * random.uniform());
            block[*at..at + 2].copy_from_slice(&f16_from_f32(scaled).to_le_bytes());
        }
        block
    }
}

/// The output head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// The embedding serves as head.
    Tied,
    /// A matrix of its own.
    Own,
}

impl Default for TinyModel {
    fn default() -> Self {
        Self {
            architecture: "llama",
            layers: 2,
            hidden: 64,
            feed_forward: 96,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            context: 128,
            head: Head::Tied,
            stored: Stored::F32,
            exceptions: &[],
            seed: 1,
        }
    }
}

impl TinyModel {
    /// The whole file.
    pub(crate) fn gguf(&self) -> Vec<u8> {
        self.writer().bytes()
    }

    /// The file before it is put together, to change things first.
    pub(crate) fn writer(&self) -> GgufWriter {
        let mut file = GgufWriter::default();
        self.write_numbers(&mut file);
        write_tokenizer(&mut file);
        let mut random = Random(self.seed);
        for (name, rows, cols) in self.tensors() {
            let stored = self.stored(&name);
            let (number, block_cols, _) = stored.numbers();
            if rows > 1 && stored != Stored::F32 && cols.is_multiple_of(block_cols) {
                let blocks = rows * cols / block_cols;
                let bytes = (0..blocks)
                    .flat_map(|_| stored.block(&mut random))
                    .collect();
                file.tensor(&name, &[cols, rows], number, bytes);
                continue;
            }
            let values: Vec<f32> = (0..rows * cols)
                .map(|_| match name.rsplit('.').next() {
                    _ if name.contains("norm") => 1.0 + 0.1 * random.uniform(),
                    Some("bias") => 0.1 * random.uniform(),
                    // Keeps the size of what goes through a matrix: a uniform number has variance 1/3.
                    _ => random.uniform() * (3.0 / cols as f32).sqrt(),
                })
                .collect();
            let shape: &[u64] = if rows == 1 { &[cols] } else { &[cols, rows] };
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            file.tensor(&name, shape, F32, bytes);
        }
        file
    }

    /// How a tensor of this name is stored.
    fn stored(&self, name: &str) -> Stored {
        let exception = self.exceptions.iter().find(|(end, _)| name.ends_with(end));
        exception.map_or(self.stored, |(_, stored)| *stored)
    }

    /// Name, rows and columns of each tensor.
    pub(crate) fn tensors(&self) -> Vec<(String, u64, u64)> {
        let (hidden, wide) = (u64::from(self.hidden), u64::from(self.feed_forward));
        let query = u64::from(self.heads * self.head_dim);
        let key = u64::from(self.kv_heads * self.head_dim);
        let vocab = vocabulary().len() as u64;
        let mut tensors = vec![("token_embd.weight".to_owned(), vocab, hidden)];
        for layer in 0..self.layers {
            let mut add = |name: &str, rows, cols| {
                tensors.push((format!("blk.{layer}.{name}"), rows, cols));
            };
            add("attn_norm.weight", 1, hidden);
            add("attn_q.weight", query, hidden);
            add("attn_k.weight", key, hidden);
            add("attn_v.weight", key, hidden);
            add("attn_output.weight", hidden, query);
            if self.architecture == "qwen2" {
                add("attn_q.bias", 1, query);
                add("attn_k.bias", 1, key);
                add("attn_v.bias", 1, key);
            }
            if self.architecture == "qwen3" {
                add("attn_q_norm.weight", 1, self.head_dim.into());
                add("attn_k_norm.weight", 1, self.head_dim.into());
            }
            add("ffn_norm.weight", 1, hidden);
            add("ffn_gate.weight", wide, hidden);
            add("ffn_up.weight", wide, hidden);
            add("ffn_down.weight", hidden, wide);
        }
        tensors.push(("output_norm.weight".to_owned(), 1, hidden));
        if self.head == Head::Own {
            tensors.push(("output.weight".to_owned(), vocab, hidden));
        }
        tensors
    }

    /// The file with matrices as training for low bits leaves them, in halves: a sign in one of four
    /// columns of the feed-forward blocks, 16 levels elsewhere, both times integers of groups.
    pub(crate) fn low_bit(&self) -> GgufWriter {
        let mut file = self.writer();
        let mut random = Random(self.seed);
        for (name, rows, cols) in self.tensors().into_iter().filter(|t| t.1 > 1) {
            let (mut scale, mut pick, mut bytes) = (0.0, 0, Vec::new());
            for col in (0..rows).flat_map(|_| 0..cols) {
                if col % 32 == 0 && (col % 64 == 0 || !name.contains("ffn")) {
                    scale = (random.next() % 255 + 1) as f32 / 4096.0;
                }
                if col % 4 == 0 {
                    pick = random.next() % 4;
                }
                let level = match (name.contains("ffn"), random.next()) {
                    (true, sign) if col % 4 == pick => (sign % 2 * 2) as f32 - 1.0,
                    (true, _) => 0.0,
                    (false, code) => (code % 16) as f32 - 8.0,
                };
                bytes.extend(f16_from_f32(scale * level).to_le_bytes());
            }
            file.tensor(&name, &[cols, rows], F16, bytes);
        }
        file
    }

    fn write_numbers(&self, file: &mut GgufWriter) {
        let key = |name: &str| format!("{}.{name}", self.architecture);
        file.string("general.architecture", self.architecture);
        file.string("general.license", "cc0-1.0");
        for (name, number) in [
            ("block_count", self.layers),
            ("context_length", self.context),
            ("embedding_length", self.hidden),
            ("feed_forward_length", self.feed_forward),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("rope.dimension_count", self.head_dim),
        ] {
            file.u32(&key(name), number);
        }
        file.f32(&key("rope.freq_base"), 10_000.0);
        file.f32(&key("attention.layer_norm_rms_epsilon"), 1e-5);
    }
}

fn write_tokenizer(file: &mut GgufWriter) {
    let tokens = vocabulary();
    // 3 is a control token, 1 a normal one.
    let kinds: Vec<i32> = (0..tokens.len())
        .map(|i| if i < CONTROL.len() { 3 } else { 1 })
        .collect();
    file.string("tokenizer.ggml.model", "gpt2");
    file.string("tokenizer.ggml.pre", "smollm");
    file.strings("tokenizer.ggml.tokens", &tokens);
    file.i32s("tokenizer.ggml.token_type", &kinds);
    file.strings("tokenizer.ggml.merges", &MERGES.map(str::to_owned));
    file.u32("tokenizer.ggml.bos_token_id", 1);
    file.u32("tokenizer.ggml.eos_token_id", 2);
    file.string("tokenizer.chat_template", CHAT_TEMPLATE);
}

/// All tokens as GGUF spells them: control tokens, the 256 bytes in order, merged tokens.
pub(crate) fn vocabulary() -> Vec<String> {
    let control = CONTROL.iter().map(|&t| t.to_owned());
    let bytes = (0..=255).map(|b| byte_char(b).to_string());
    let merged = MERGES.iter().map(|m| m.replace(' ', ""));
    control.chain(bytes).chain(merged).collect()
}

/// GPT-2's character for a byte.
fn byte_char(byte: u8) -> char {
    let printable = |b: u8| (33..=126).contains(&b) || (161..=172).contains(&b) || b >= 174;
    if printable(byte) {
        char::from(byte)
    } else {
        let nth = (0..byte).filter(|&b| !printable(b)).count() as u32;
        char::from_u32(256 + nth).expect("a letter")
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From -1 to 1.
    pub(crate) fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Puts a GGUF file together.
#[derive(Debug, Clone, Default)]
pub(crate) struct GgufWriter {
    metadata: Vec<(String, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

impl GgufWriter {
    /// Sets a metadata value of type number `kind`; replaces an earlier one.
    pub(crate) fn value(&mut self, key: &str, kind: u32, payload: &[u8]) -> &mut Self {
        self.metadata.retain(|(k, _)| k != key);
        self.metadata
            .push((key.to_owned(), [&kind.to_le_bytes(), payload].concat()));
        self
    }

    pub(crate) fn u32(&mut self, key: &str, value: u32) -> &mut Self {
        self.value(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn f32(&mut self, key: &str, value: f32) -> &mut Self {
        self.value(key, 6, &value.to_le_bytes())
    }

    pub(crate) fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.value(key, 7, &[u8::from(value)])
    }

    pub(crate) fn string(&mut self, key: &str, value: &str) -> &mut Self {
        self.value(key, 8, &length_and(value))
    }

    pub(crate) fn strings(&mut self, key: &str, values: &[String]) -> &mut Self {
        self.array(
            key,
            8,
            values.len(),
            values.iter().flat_map(|v| length_and(v)).collect(),
        )
    }

    pub(crate) fn i32s(&mut self, key: &str, values: &[i32]) -> &mut Self {
        self.array(
            key,
            5,
            values.len(),
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    pub(crate) fn f32s(&mut self, key: &str, values: &[f32]) -> &mut Self {
        self.array(
            key,
            6,
            values.len(),
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    fn array(&mut self, key: &str, kind: u32, count: usize, items: Vec<u8>) -> &mut Self {
        let payload = [
            &kind.to_le_bytes()[..],
            &(count as u64).to_le_bytes(),
            &items,
        ]
        .concat();
        self.value(key, 9, &payload)
    }

    /// Removes a metadata value.
    pub(crate) fn without(&mut self, key: &str) -> &mut Self {
        self.metadata.retain(|(k, _)| k != key);
        self
    }

    /// Adds a tensor; `shape` has the contiguous dimension first. Replaces one of the same name.
    pub(crate) fn tensor(
        &mut self,
        name: &str,
        shape: &[u64],
        kind: u32,
        bytes: Vec<u8>,
    ) -> &mut Self {
        let entry = (name.to_owned(), shape.to_vec(), kind, bytes);
        match self.tensors.iter_mut().find(|t| t.0 == name) {
            Some(old) => *old = entry,
            None => self.tensors.push(entry),
        }
        self
    }

    /// Removes a tensor.
    pub(crate) fn without_tensor(&mut self, name: &str) -> &mut Self {
        self.tensors.retain(|t| t.0 != name);
        self
    }

    /// The file: GGUF version 3, data aligned to 32 bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, payload) in &self.metadata {
            file.extend(length_and(key));
            file.extend(payload);
        }
        let mut data = Vec::new();
        for (name, shape, kind, bytes) in &self.tensors {
            file.extend(length_and(name));
            file.extend((shape.len() as u32).to_le_bytes());
            file.extend(shape.iter().flat_map(|size| size.to_le_bytes()));
            file.extend(kind.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            data.extend(bytes);
            data.resize(data.len().next_multiple_of(32), 0);
        }
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend(data);
        file
    }
}

fn length_and(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}
