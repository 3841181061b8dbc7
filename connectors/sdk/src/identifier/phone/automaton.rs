//! Patterns over digits as deterministic automata: one table look-up per digit.
//!
//! Knows what numbering plans are written in: digits, `\d`, `[…]`, groups, `|`, `?`, `{n}`, `{n,m}`.

use std::collections::HashMap;

/// A state of the nondeterministic automaton a pattern is first turned into.
enum Node {
    /// Goes on by any digit whose bit is set.
    Digit(u16, usize),
    /// Goes on by nothing, to every one of these.
    Fork(Vec<usize>),
    /// The pattern of this mask is matched.
    Accept(u32),
}

/// Tells which of several patterns match a whole string of digits.
#[derive(Debug)]
pub(super) struct Automaton {
    /// State 0 is the dead one, state 1 the start. Six of sixteen are never looked at: a step is a shift and a load.
    next: Vec<[u16; 16]>,
    accept: Vec<u32>,
}

impl Automaton {
    /// One automaton for several patterns, each with the mask it gives when it matches. `None` when a pattern holds
    /// something unknown.
    pub(super) fn new<'a>(patterns: impl Iterator<Item = (u32, &'a str)>) -> Option<Self> {
        let mut builder = Builder { nodes: Vec::new() };
        let mut starts = Vec::new();
        for (mask, pattern) in patterns {
            let accept = builder.push(Node::Accept(mask));
            let syntax = Parser { rest: pattern.as_bytes() }.whole()?;
            starts.push(builder.compile(&syntax, accept));
        }
        Some(builder.determine(starts))
    }

    /// The masks of every pattern that matches `digits` (ASCII), or-ed; 0 when none does.
    pub(super) fn run(&self, digits: &[u8]) -> u32 {
        let mut state = 1u16;
        for byte in digits {
            state = self.next[state as usize][(byte & 15) as usize];
            if state == 0 {
                return 0;
            }
        }
        self.accept[state as usize]
    }
}

/// What a pattern says.
enum Syntax {
    Digits(u16),
    Sequence(Vec<Syntax>),
    Choice(Vec<Syntax>),
    Repeat(Box<Syntax>, u8, u8),
}

struct Parser<'a> {
    rest: &'a [u8],
}

impl Parser<'_> {
    fn whole(mut self) -> Option<Syntax> {
        let syntax = self.choice()?;
        self.rest.is_empty().then_some(syntax)
    }

    fn take(&mut self, prefix: &[u8]) -> bool {
        let rest = self.rest.strip_prefix(prefix);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    fn choice(&mut self) -> Option<Syntax> {
        let mut branches = vec![self.sequence()?];
        while self.take(b"|") {
            branches.push(self.sequence()?);
        }
        Some(Syntax::Choice(branches))
    }

    fn sequence(&mut self) -> Option<Syntax> {
        let mut parts = Vec::new();
        while !matches!(self.rest.first(), None | Some(b'|' | b')')) {
            let atom = self.atom()?;
            parts.push(self.repeated(atom)?);
        }
        Some(Syntax::Sequence(parts))
    }

    fn atom(&mut self) -> Option<Syntax> {
        if self.take(b"(?:") {
            let inner = self.choice()?;
            return self.take(b")").then_some(inner);
        }
        if self.take(br"\d") {
            return Some(Syntax::Digits(0x3ff));
        }
        match self.byte()? {
            byte @ b'0'..=b'9' => Some(Syntax::Digits(1 << (byte - b'0'))),
            b'[' => self.class(),
            _ => None,
        }
    }

    fn class(&mut self) -> Option<Syntax> {
        let mut set = 0u16;
        loop {
            let first = match self.byte()? {
                b']' => return Some(Syntax::Digits(set)),
                byte if byte.is_ascii_digit() => byte - b'0',
                _ => return None,
            };
            let last = if self.take(b"-") { self.byte()?.checked_sub(b'0')? } else { first };
            if last > 9 || last < first {
                return None;
            }
            for digit in first..=last {
                set |= 1 << digit;
            }
        }
    }

    fn repeated(&mut self, atom: Syntax) -> Option<Syntax> {
        if self.take(b"?") {
            return Some(Syntax::Repeat(Box::new(atom), 0, 1));
        }
        if !self.take(b"{") {
            return Some(atom);
        }
        let least = self.number()?;
        let most = if self.take(b",") { self.number()? } else { least };
        (self.take(b"}") && least <= most).then(|| Syntax::Repeat(Box::new(atom), least, most))
    }

    fn number(&mut self) -> Option<u8> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }
}

struct Builder {
    nodes: Vec<Node>,
}

impl Builder {
    fn push(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Lays nodes for `syntax` that go on to `then`; where they begin.
    fn compile(&mut self, syntax: &Syntax, then: usize) -> usize {
        match syntax {
            Syntax::Digits(set) => self.push(Node::Digit(*set, then)),
            Syntax::Sequence(parts) => parts.iter().rev().fold(then, |then, part| self.compile(part, then)),
            Syntax::Choice(branches) => {
                let starts = branches.iter().map(|branch| self.compile(branch, then)).collect();
                self.push(Node::Fork(starts))
            }
            Syntax::Repeat(part, least, most) => {
                let mut start = then;
                for _ in *least..*most {
                    let once = self.compile(part, start);
                    start = self.push(Node::Fork(vec![once, then]));
                }
                for _ in 0..*least {
                    start = self.compile(part, start);
                }
                start
            }
        }
    }

    /// Every digit node and mask that is reached from `starts` without a digit.
    fn closure(&self, starts: Vec<usize>) -> (Vec<usize>, u32) {
        let mut seen = vec![false; self.nodes.len()];
        let (mut digits, mut mask, mut open) = (Vec::new(), 0, starts);
        while let Some(node) = open.pop() {
            if std::mem::replace(&mut seen[node], true) {
                continue;
            }
            match &self.nodes[node] {
                Node::Digit(..) => digits.push(node),
                Node::Fork(branches) => open.extend(branches),
                Node::Accept(accepted) => mask |= accepted,
            }
        }
        digits.sort_unstable();
        (digits, mask)
    }

    fn determine(&self, starts: Vec<usize>) -> Automaton {
        let mut automaton = Automaton { next: vec![[0; 16]], accept: vec![0] };
        let dead = (Vec::new(), 0);
        let start = self.closure(starts);
        let mut known = HashMap::from([(dead.clone(), 0u16), (start.clone(), 1)]);
        let mut states = vec![dead, start];
        let mut at = 1;
        while at < states.len() {
            let (nodes, mask) = states[at].clone();
            let mut row = [0; 16];
            for (digit, target) in row.iter_mut().take(10).enumerate() {
                let reached = nodes.iter().filter_map(|node| match self.nodes[*node] {
                    Node::Digit(set, then) if set & (1 << digit) != 0 => Some(then),
                    _ => None,
                });
                let reached = self.closure(reached.collect());
                let fresh = u16::try_from(states.len()).expect("numbering plans have a few thousand states");
                *target = *known.entry(reached).or_insert_with_key(|key| {
                    states.push(key.clone());
                    fresh
                });
            }
            automaton.next.push(row);
            automaton.accept.push(mask);
            at += 1;
        }
        automaton
    }
}

#[cfg(test)]
mod tests {
    use super::Automaton;

    #[test]
    fn matches_what_patterns_say_and_tells_them_apart() {
        let patterns = [(1, r"(?:[13]\d|2[0-57-9])\d{2}"), (2, r"1?23{1,2}"), (4, "13")];
        let automaton = Automaton::new(patterns.into_iter()).unwrap();
        for (digits, mask) in
            [("1000", 1), ("2600", 0), ("2500", 1), ("123", 2), ("1233", 3), ("23", 2), ("233", 2), ("13", 4), ("", 0)]
        {
            assert_eq!(automaton.run(digits.as_bytes()), mask, "{digits}");
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for pattern in ["1+", "(1)", "[^1]", "1{2,}", "a", "(?:1", "1)", "[9-1]"] {
            assert!(Automaton::new([(1, pattern)].into_iter()).is_none(), "{pattern}");
        }
    }
}
