//! Inputs made from those of a corpus, much faster than a fuzzer that looks at coverage makes
//! them: for running many once a corpus is good.

use std::path::Path;

/// Longer inputs only take longer.
const LONGEST: usize = 256;

/// An endless supply of inputs, the same for the same seed and corpus.
pub struct Mutator {
    corpus: Vec<Vec<u8>>,
    state: u64,
    input: Vec<u8>,
}

impl Mutator {
    /// From the files of a directory, which must hold some.
    pub fn new(directory: &Path, seed: u64) -> Mutator {
        let corpus = corpus(directory);
        assert!(!corpus.is_empty(), "no corpus in {}", directory.display());
        Mutator {
            corpus,
            state: seed | 1,
            input: Vec::with_capacity(2 * LONGEST),
        }
    }

    /// Marsaglia's xorshift64.
    fn random(&mut self) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state as usize
    }

    /// One more input.
    pub fn next(&mut self) -> &[u8] {
        let first = self.random() % self.corpus.len();
        self.input.clear();
        self.input.extend_from_slice(&self.corpus[first]);
        if self.random() % 4 == 0 {
            let second = self.random() % self.corpus.len();
            let cut = self.random() % (self.input.len() + 1);
            self.input.truncate(cut);
            self.input.extend_from_slice(&self.corpus[second]);
        }
        self.input.truncate(LONGEST);
        for _ in 0..self.random() % 6 {
            self.mutate();
        }
        &self.input
    }

    fn mutate(&mut self) {
        let value = self.random() as u8;
        if self.input.is_empty() {
            return self.input.push(value);
        }
        let at = self.random() % self.input.len();
        match self.random() % 5 {
            0 => self.input[at] = value,
            1 => self.input[at] ^= 1 << (value % 8),
            2 => self.input[at] = [0, 1, 0x7f, 0x80, 0xff][value as usize % 5],
            3 => drop(self.input.remove(at)),
            _ => self.input.insert(at, value),
        }
    }
}

/// The files of a directory, in a fixed order.
pub fn corpus(directory: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(directory)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}
