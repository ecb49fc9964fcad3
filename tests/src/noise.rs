//! Pages of noise: what a hostile or a broken process may leave where readers look. The same seed makes the same page.
//!
//! A reader refuses what is no page at all, so the words that say "this is a page, of this process" stay right, and all
//! others are made up. Tests give each page to every reader: a panic, an answer that takes long or memory that grows is a
//! fault of the reader, whatever the page says.

/// Words of the header that must be right, or nobody reads on: magic, version, length, process, namespace.
const WORDS_KEPT: usize = 6;

/// The word of the header that says that the loop ended in order: a reader would pass the page over.
const CLOSED: usize = 12;

/// The words of the header that say what a stamp is worth.
const CLOCK: std::ops::Range<usize> = 9..11;

/// Numbers that arithmetic goes wrong with.
const EXTREMES: [u64; 12] = [
    0,
    1,
    u64::MAX,
    u64::MAX - 1,
    1 << 63,
    (1 << 63) - 1,
    1 << 62,
    1 << 60,
    1 << 53,
    (1 << 44) - 1,
    1 << 32,
    0xffff_ffff,
];

/// In what way a page is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// All words are random.
    Random,
    /// All words are among the numbers that arithmetic goes wrong with.
    Extreme,
    /// All words are the same, and two of them overflow.
    Sums,
    /// Every eighth word or so of a real page is one of those numbers.
    Damaged,
    /// Some bits of a real page are turned over.
    Flipped,
}

impl Noise {
    /// All kinds.
    pub const ALL: [Noise; 5] = [Noise::Random, Noise::Extreme, Noise::Sums, Noise::Damaged, Noise::Flipped];
}

/// Random numbers (xorshift64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Returns the row of numbers of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns the next number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() >> 16) as usize % end
    }
}

/// Makes a page that is wrong in this way of a real one.
///
/// # Panics
/// `real` is shorter than a header.
pub fn page(real: &[u8], noise: Noise, seed: u64) -> Vec<u8> {
    let (mut random, mut bytes) = (Random::new(seed), real.to_vec());
    if noise == Noise::Flipped {
        for _ in 0..64 {
            let at = WORDS_KEPT * 8 + random.below(bytes.len() - WORDS_KEPT * 8);
            bytes[at] ^= 1 << random.below(8);
        }
    } else {
        let sum = EXTREMES[2 + seed as usize % 5];
        for word in bytes.chunks_exact_mut(8).skip(WORDS_KEPT) {
            let number = match noise {
                Noise::Sums => sum,
                Noise::Random => random.number() >> (random.below(8) * 8),
                _ => EXTREMES[random.below(EXTREMES.len())],
            };
            if noise != Noise::Damaged || random.below(8) == 0 {
                word.copy_from_slice(&number.to_ne_bytes());
            }
        }
    }
    // A clock that nobody can read is refused; one that runs at an absurd rate is not.
    let keep = |bytes: &mut [u8], word: usize| {
        bytes[word * 8..][..8].copy_from_slice(&real[word * 8..][..8]);
    };
    keep(&mut bytes, CLOSED);
    keep(&mut bytes, CLOCK.start);
    if seed.is_multiple_of(3) || bytes[CLOCK.start * 8 + 8..][..8] == [0; 8] {
        keep(&mut bytes, CLOCK.start + 1);
    }
    bytes
}
