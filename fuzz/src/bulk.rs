//! Runs a target over inputs mutated from its corpus: `bulk TARGET EXECUTIONS [SEED]`. To be
//! built with AddressSanitizer; `make fuzz` does.

use pktring_fuzz::{calls, mutate::Mutator, receive};
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;
use std::time::Instant;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [target, executions, ..] = &args[..] else {
        panic!("usage: bulk TARGET EXECUTIONS [SEED]");
    };
    let run: fn(&[u8]) = match target.as_str() {
        "receive" => receive::run,
        "calls" => calls::run,
        other => panic!("there is no target called {other}"),
    };
    let executions: u64 = executions.parse().expect("a number of executions");
    let seed = args.get(2).map_or(1, |seed| seed.parse().expect("a seed"));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut mutator = Mutator::new(&corpus, seed);
    let start = Instant::now();
    for done in 1..=executions {
        let input = mutator.next();
        if let Err(fault) = catch_unwind(|| run(input)) {
            eprintln!("{target}: execution {done} of seed {seed}, input {input:?}");
            resume_unwind(fault);
        }
        if done % 1_000_000 == 0 || done == executions {
            let seconds = start.elapsed().as_secs_f64();
            println!("{target}: {done} executions in {seconds:.0} s, no fault");
        }
    }
}
