//! Instructions that this engine takes for a token, and so what a core can do at one instruction a cycle.
//!
//! Counted on emulated cores that run hearth: the table is in the tests below, which hold what is
//! computed here against it. A core that waits for its memory needs more cycles, one that starts two
//! instructions at once may need fewer; [`Cost::seconds`] is neither, and no board was measured.

use super::shape::TensorPlan;
use crate::board::{Board, Isa};
use engine::encoding::{Encoding, Width};

/// Multiply-accumulates from which a Cortex-M of the newest kind counts as one with Helium.
const HELIUM_MACS: f64 = 4.0;

/// What is computed here is off by at most so much of what was counted, as the tests below see.
pub(super) const COUNTED_ERROR: f64 = 0.17;

/// What a product with a matrix asks of a core, in units of what the Cortex-M33 takes for it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Products {
    /// Instructions of the Cortex-M33 for dense matrices.
    dense: f64,
    /// The same for matrices of floats.
    floats: f64,
    /// The same for matrices with a bitmap.
    sparse: f64,
    /// Multiply-accumulates of attention.
    attention: f64,
}

impl Products {
    /// The work of attention alone.
    pub(super) fn of_attention(macs: f64) -> Self {
        Self {
            attention: macs,
            ..Self::default()
        }
    }

    /// Multiply-accumulates of attention.
    pub(super) const fn attention(&self) -> f64 {
        self.attention
    }

    /// The products alone.
    pub(super) const fn without_attention(self) -> Self {
        Self {
            attention: 0.0,
            ..self
        }
    }

    /// Adds a product with a matrix.
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    pub(super) fn add(&mut self, tensor: &TensorPlan) {
        let weights = tensor.rows as f64 * tensor.cols as f64;
        let kept = tensor.rows as f64 * tensor.kept as f64;
        match tensor.encoding {
            // Converted and multiplied as floats, in the wide format of each.
            Encoding::F32 | Encoding::F16 => self.floats += 32.1 * weights,
            Encoding::Dense(width) => self.dense += dense(width) * weights,
            Encoding::Ternary => self.dense += dense(Width::Two) * weights,
            Encoding::OneOfFour => self.dense += 4.1 * weights,
            Encoding::Twin(_) => self.dense += dense(Width::Eight) * weights,
            // A walk over the bitmap, and what is done for each bit in it.
            Encoding::Sparse(_) => self.sparse += 4.5 * weights + 16.7 * kept,
        }
    }
}

/// Instructions of the Cortex-M33 for a weight: of 1, 2, 4 and 8 bits 3.2, 3.6, 4.0 and 5.5 were counted.
fn dense(width: Width) -> f64 {
    3.1 + 0.3 * f64::from(width.bits())
}

/// How a core compares with the Cortex-M33.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    /// The core that was counted.
    pub(super) name: &'static str,
    dense: f64,
    floats: f64,
    sparse: f64,
    /// Instructions for a multiply-accumulate of attention, its share of the exponentials included.
    attention: f64,
}

const CORTEX_M33: Cost = Cost {
    name: "Cortex-M33",
    dense: 1.0,
    floats: 1.0,
    sparse: 1.0,
    attention: 15.3,
};
const CORTEX_M4: Cost = Cost {
    name: "Cortex-M4",
    ..CORTEX_M33
};
const CORTEX_M55: Cost = Cost {
    name: "Cortex-M55",
    dense: 0.68,
    floats: 0.68,
    sparse: 0.93,
    attention: 7.9,
};
/// Floats in software: attention most of all.
const RV32IMC: Cost = Cost {
    name: "rv32imc",
    dense: 2.55,
    floats: 2.55,
    sparse: 1.36,
    attention: 211.0,
};
const RV32IMAFC: Cost = Cost {
    name: "rv32imafc",
    dense: 1.2,
    floats: 1.2,
    sparse: 0.92,
    attention: 15.1,
};

/// 64 bits with NEON, as the program for boards that run Linux uses it; on one core.
const AARCH64: Cost = Cost {
    name: "aarch64",
    dense: 0.26,
    floats: 0.122,
    sparse: 0.62,
    attention: 2.64,
};

impl Cost {
    /// The cost on a board's cores, by those of the same instruction set that were counted. Xtensa cores
    /// were not: they are taken as the RISC-V core that has what they have, scalar products and floats in
    /// hardware.
    pub(super) fn of(board: &Board) -> Self {
        let macs = board.nominal_macs_per_cycle.as_ref();
        let has_helium = macs.is_some_and(|fact| fact.value >= HELIUM_MACS);
        match board.isa {
            Isa::Riscv32imc | Isa::Riscv32imac => RV32IMC,
            Isa::Riscv32imafc | Isa::Xtensa => RV32IMAFC,
            Isa::Thumbv7em => CORTEX_M4,
            Isa::Thumbv8m if has_helium => CORTEX_M55,
            Isa::Thumbv8m => CORTEX_M33,
            Isa::Aarch64 => AARCH64,
        }
    }

    /// Instructions of one token.
    pub(super) fn instructions(&self, products: &Products) -> f64 {
        let Products {
            dense,
            floats,
            sparse,
            attention,
        } = products;
        self.dense * dense
            + self.floats * floats
            + self.sparse * sparse
            + self.attention * attention
    }

    /// Seconds of one token at one instruction a cycle.
    pub(super) fn seconds(&self, products: &Products, clock_hz: f64) -> f64 {
        self.instructions(products) / clock_hz
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::{Head, ModelShape, Options, Range, RuntimeMemory, Work, estimate, plan};
    use crate::job::Job;
    use crate::model::Model;
    use crate::recipe::{NOfM, Precision, Recipe, Setting};
    use engine::arena::CachePrecision;
    use engine::shape::Role;
    use std::path::Path;

    /// Core, recipe, position of the token, instructions: hearth with keys and values of 8 bits, the
    /// mean of twelve tokens around the position. The Cortex-M cores under QEMU 7.2 (mps3-an547) with a
    /// plugin that counts, the RISC-V cores by `minstret` of `firmware/boards/qemu-virt`, aarch64 by the blocks that
    /// `qemu-aarch64 -d exec,nochain,in_asm` 10.0.2 lists of `firmware/boards/linux` with `--threads 1`.
    const COUNTED: [(&str, &str, f64, f64); 34] = [
        ("Cortex-M55", "balanced-4bit", 24.0, 6_712_092.0),
        ("Cortex-M33", "balanced-4bit", 24.0, 10_063_569.0),
        ("Cortex-M4", "balanced-4bit", 24.0, 10_081_012.0),
        ("Cortex-M55", "balanced-4bit", 133.0, 8_367_000.0),
        ("Cortex-M33", "balanced-4bit", 133.0, 13_262_595.0),
        ("Cortex-M4", "balanced-4bit", 133.0, 13_288_438.0),
        ("Cortex-M33", "*=bits:16", 24.0, 70_514_379.0),
        ("Cortex-M33", "*=bits:8", 24.0, 12_710_129.0),
        ("Cortex-M33", "*=bits:4", 24.0, 9_477_645.0),
        ("Cortex-M33", "*=bits:2", 24.0, 8_591_314.0),
        ("Cortex-M33", "*=bits:1", 24.0, 7_702_651.0),
        ("Cortex-M33", "*=bits:4,sparsity:0.5", 24.0, 28_592_508.0),
        ("Cortex-M33", "*=bits:4,sparsity:0.8", 24.0, 17_692_710.0),
        ("Cortex-M33", "*=bits:8,sparsity:0.8", 24.0, 18_466_848.0),
        ("Cortex-M33", "*=bits:1,sparsity:0.5", 24.0, 25_788_511.0),
        ("Cortex-M33", "*=bits:1,pattern:1:4", 24.0, 9_663_433.0),
        ("Cortex-M55", "*=bits:4,sparsity:0.5", 24.0, 26_355_048.0),
        ("rv32imc", "balanced-4bit", 24.0, 33_686_899.0),
        ("rv32imc", "balanced-4bit", 76.0, 54_797_894.0),
        ("rv32imc", "balanced-4bit", 133.0, 77_852_293.0),
        ("rv32imafc", "balanced-4bit", 24.0, 12_220_853.0),
        ("rv32imafc", "balanced-4bit", 133.0, 15_388_863.0),
        ("rv32imc", "*=bits:4", 24.0, 32_112_805.0),
        ("rv32imc", "*=bits:4,sparsity:0.5", 24.0, 47_607_338.0),
        ("rv32imafc", "*=bits:4", 24.0, 10_554_543.0),
        ("rv32imafc", "*=bits:4,sparsity:0.5", 24.0, 26_363_749.0),
        ("aarch64", "balanced-4bit", 24.0, 2_677_494.0),
        ("aarch64", "balanced-4bit", 121.0, 3_168_934.0),
        ("aarch64", "*=bits:16", 24.0, 8_652_238.0),
        ("aarch64", "*=bits:8", 24.0, 2_796_932.0),
        ("aarch64", "*=bits:4", 24.0, 2_656_762.0),
        ("aarch64", "*=bits:2", 24.0, 2_508_157.0),
        ("aarch64", "*=bits:1", 24.0, 2_326_476.0),
        ("aarch64", "*=bits:4,sparsity:0.5", 24.0, 17_433_423.0),
    ];

    fn hearth() -> ModelShape {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/hearth");
        let model = Model::load(&folder, &Job::silent()).unwrap();
        ModelShape::of(&model).unwrap()
    }

    fn planned(shape: &ModelShape, recipe: &str) -> Vec<TensorPlan> {
        let recipe = match recipe.contains('=') {
            false => Recipe::open(recipe).unwrap(),
            true => {
                let mut own = Recipe::original();
                own.set(recipe).unwrap();
                own
            }
        };
        let layers = shape.hyperparameters.layers;
        plan(shape, &|role, layer| recipe.setting(role, layer, layers))
    }

    fn cost(core: &str) -> Cost {
        let all = [
            CORTEX_M4, CORTEX_M33, CORTEX_M55, RV32IMC, RV32IMAFC, AARCH64,
        ];
        *all.iter().find(|cost| cost.name == core).unwrap()
    }

    #[test]
    fn what_is_computed_is_what_was_counted() {
        let shape = hearth();
        for (core, recipe, position, counted) in COUNTED {
            let tensors = planned(&shape, recipe);
            let work = Work::of_token(
                &shape,
                &tensors,
                position,
                CachePrecision::Eight,
                Head::Computed,
            );
            let found = cost(core).instructions(&work.products);
            let off = found / counted - 1.0;
            assert!(
                off.abs() < COUNTED_ERROR,
                "{core}, {recipe} at {position}: {found:.0}, off by {off:.2}"
            );
        }
        // A model of 60 times the size, on an emulated rv32imafc: firmware/README.md.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/shapes");
        let shape = ModelShape::load(&folder.join("smollm2-135m.toml")).unwrap();
        let tensors = planned(&shape, "balanced-4bit");
        let work = Work::of_token(
            &shape,
            &tensors,
            33.0,
            CachePrecision::Sixteen,
            Head::Computed,
        );
        let found = cost("rv32imafc").instructions(&work.products);
        assert!((found / 696e6 - 1.0).abs() < 0.1, "{found:.0}");
    }

    /// Tokens a second; nothing where the weights lie in a memory of unknown speed.
    fn speed(shape: &ModelShape, board: &Board, recipe: &str, position: f64) -> Option<Range> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small"
        )]
        let options = Options {
            // Half of it is full.
            context_tokens: 2 * position as u32,
            cache: CachePrecision::Eight,
            ..Options::default()
        };
        let tensors = planned(shape, recipe);
        let memory = RuntimeMemory::of(shape, options.context_tokens, options.cache);
        estimate(shape, &tensors, memory, board, &options).tokens_per_second
    }

    #[test]
    fn the_range_of_every_board_contains_what_its_core_can_do() {
        let shape = hearth();
        for board in Board::presets() {
            let core = Cost::of(board).name;
            let mut held = 0;
            for (_, recipe, position, counted) in COUNTED.iter().filter(|row| row.0 == core) {
                let ceiling = board.clock_hz.value as f64 / counted;
                let Some(range) = speed(&shape, board, recipe, *position) else {
                    continue;
                };
                let name = format!(
                    "{}, {recipe} at {position}: {ceiling:.2} of {range:?}",
                    board.id
                );
                assert!(range.low <= ceiling && ceiling <= range.high, "{name}");
                // The middle is nothing that it cannot do, but for what the computed is off.
                assert!(range.mid <= 1.2 * ceiling, "{name}");
                held += 1;
            }
            assert!(held > 0, "{} has a core that nobody counted", board.id);
        }
    }

    #[test]
    fn a_range_is_not_so_wide_that_it_says_nothing() {
        let shape = hearth();
        for board in Board::presets() {
            let range = speed(&shape, board, "balanced-4bit", 133.0).expect("hearth fits");
            assert!(range.high / range.low < 20.0, "{}: {range:?}", board.id);
        }
    }

    #[test]
    fn a_pruned_matrix_costs_for_its_bitmap_and_for_what_it_keeps() {
        let of = |setting: Setting| {
            let encoding = setting.encoding(64, 320, None);
            let mut products = Products::default();
            let kept = setting.kept(320);
            products.add(&TensorPlan::new(
                Role::Down,
                Some(0),
                (64, 320),
                encoding,
                kept,
            ));
            CORTEX_M33.instructions(&products)
        };
        let half = of(Setting::sparse(Precision::Four, 0.5));
        let fifth = of(Setting::sparse(Precision::Four, 0.8));
        assert!(of(Setting::bits(Precision::Four)) < fifth && fifth < half);
        let signs = Setting::bits(Precision::One).with_pattern(NOfM::new(1, 4).unwrap());
        assert!(of(signs) < fifth);
    }
}
