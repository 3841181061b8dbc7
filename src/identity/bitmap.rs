//! A set of row numbers that can say how many of its members come before one.

const BLOCK_WORDS: usize = 8;

/// Grows to the largest number set.
#[derive(Debug, Default, Clone)]
pub(super) struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    pub(super) fn set(&mut self, bit: u32, value: bool) {
        let (word, mask) = ((bit / 64) as usize, 1 << (bit % 64));
        if word >= self.words.len() {
            if !value {
                return;
            }
            self.words.resize(word + 1, 0);
        }
        if value {
            self.words[word] |= mask;
        } else {
            self.words[word] &= !mask;
        }
    }
    pub(super) fn get(&self, bit: u32) -> bool {
        self.words.get((bit / 64) as usize).is_some_and(|word| word >> (bit % 64) & 1 != 0)
    }
    pub(super) fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// A finished set: position of a member among all members in a few instructions.
#[derive(Debug, Default)]
pub(super) struct Ranked {
    bitmap: Bitmap,
    /// Members before each block of 512.
    before: Vec<u32>,
    len: u32,
}

impl Ranked {
    pub(super) fn new(mut bitmap: Bitmap) -> Self {
        bitmap.words.shrink_to_fit();
        let mut before = Vec::with_capacity(bitmap.words.len().div_ceil(BLOCK_WORDS));
        let mut len = 0;
        for block in bitmap.words.chunks(BLOCK_WORDS) {
            before.push(len);
            len += block.iter().map(|word| word.count_ones()).sum::<u32>();
        }
        Self { bitmap, before, len }
    }
    pub(super) fn len(&self) -> u32 {
        self.len
    }
    /// Members below `bit`, if it is one.
    pub(super) fn position(&self, bit: u32) -> Option<u32> {
        if !self.bitmap.get(bit) {
            return None;
        }
        let word = (bit / 64) as usize;
        let block = word / BLOCK_WORDS;
        let whole: u32 = self.bitmap.words[block * BLOCK_WORDS..word].iter().map(|word| word.count_ones()).sum();
        let part = self.bitmap.words[word] & ((1 << (bit % 64)) - 1);
        Some(self.before[block] + whole + part.count_ones())
    }
    /// All members, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        (0u32..).zip(&self.bitmap.words).flat_map(|(number, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(number * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_the_members_before() {
        let members: Vec<u32> = (0..5_000).filter(|number| number * number % 7 == 2 || *number == 4_999).collect();
        let mut bitmap = Bitmap::default();
        members.iter().for_each(|member| bitmap.set(*member, true));
        bitmap.set(9_000, false);
        let ranked = Ranked::new(bitmap);
        assert_eq!(ranked.len() as usize, members.len());
        assert!(ranked.iter().eq(members.iter().copied()));
        for (position, member) in members.iter().enumerate() {
            assert_eq!(ranked.position(*member), Some(position as u32));
        }
        assert_eq!((ranked.position(0), ranked.position(100_000)), (None, None));
    }
}
