//! Reading the text that `tcpdump -ddd` prints.

use crate::error::{invalid, Result};
use crate::program::MAX_INSTRUCTIONS;
use libc::sock_filter;

/// The program that `text` is: the number of instructions, then each as four decimal numbers.
/// Lines may be separated by commas instead, as some tools print them.
pub fn parse(text: &str) -> Result<Vec<sock_filter>> {
    let mut lines = text
        .split(['\n', ','])
        .map(str::trim)
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    let (_, first) = lines
        .next()
        .ok_or_else(|| invalid!("the filter text is empty; 'tcpdump -ddd' prints a valid one"))?;
    let count: usize = first.parse().map_err(|_| {
        invalid!(
            "filter text: '{first}' is no number of instructions; use what 'tcpdump -ddd' prints"
        )
    })?;
    if count == 0 || count > MAX_INSTRUCTIONS {
        return Err(invalid!(
            "filter text: {count} instructions are out of range; 1 to {MAX_INSTRUCTIONS} are valid"
        ));
    }
    let program: Vec<sock_filter> = lines
        .map(|(number, line)| instruction(number + 1, line))
        .collect::<Result<_>>()?;
    if program.len() != count {
        return Err(invalid!(
            "filter text: {count} instructions were announced and {} follow",
            program.len()
        ));
    }
    Ok(program)
}

fn instruction(number: usize, line: &str) -> Result<sock_filter> {
    let bad = || {
        invalid!(
            "filter text, line {number}: '{line}' is no instruction: code, jt, jf and k in decimal"
        )
    };
    let fields: Vec<u32> = line
        .split_whitespace()
        .map(|field| field.parse().map_err(|_| bad()))
        .collect::<Result<_>>()?;
    match fields[..] {
        [code, jt, jf, k] if code <= 0xffff && jt <= 0xff && jf <= 0xff => Ok(sock_filter {
            code: code as u16,
            jt: jt as u8,
            jf: jf as u8,
            k,
        }),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tcpdump_prints_is_read() {
        // tcpdump -ddd -y EN10MB ip
        let text = "4\n40 0 0 12\n21 0 1 2048\n6 0 0 262144\n6 0 0 0\n";
        let program = parse(text).unwrap();
        let fields: Vec<_> = program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect();
        let due = [
            (40, 0, 0, 12),
            (21, 0, 1, 2048),
            (6, 0, 0, 262144),
            (6, 0, 0, 0),
        ];
        assert_eq!(fields, due);
        assert_eq!(parse("1, 6 0 0 4294967295,").unwrap()[0].k, u32::MAX);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text| parse(text).unwrap_err().to_string();
        assert!(error("").contains("empty"));
        assert!(error("x\n").contains("'x'"));
        assert!(error("0\n").contains("0 instructions"));
        assert!(error("4097\n").contains("4097"));
        assert!(error("2\n6 0 0 0\n").contains("2 instructions were announced and 1 follow"));
        assert!(error("1\n6 0 0 0\n6 0 0 0").contains("announced and 2"));
        assert!(error("1\n6 0 0\n").contains("line 2: '6 0 0'"));
        assert!(error("1\n6 0 256 0\n").contains("line 2"));
        assert!(error("1\n6 0 0 4294967296\n").contains("line 2"));
        assert!(error("1\n6 0 0 -1\n").contains("line 2"));
    }
}
