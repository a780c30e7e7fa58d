//! What a cut-off would leave: judged question by question, before the day.
//!
//! Why: an operator must be able to say which of the names that his users ask for would survive, which would not, and what would
//! fix each; and that must be right rather than hopeful. So nothing here reckons with names, delegations and addresses by rules of its
//! own: each question is put to a resolver that lives in a world where the cut has been made (`Resolver::judging`), and what that
//! resolver did is read from its record.
//!
//! - [`judge`]: puts a question to that world, and to the true one where it comes to nothing
//! - [`verdict`]: from the record of a judgement to a verdict, a reason and what would fix it; pure
//! - [`names`]: which names are asked for, and how often, in bounded memory; pure
//! - [`report`]: verdicts added up
//! - [`domains`]: the same by registrable name and by zone; pure
//! - [`html`] and [`picture`]: a report as one page; pure
//! - [`watch`]: when a drill is to be given up; pure
//!
//! Failure: a question that fails in the true world, too, is no loss and is shown apart. What cannot be told is said to be lost.

pub mod domains;
pub mod html;
pub mod judge;
pub mod names;
pub mod picture;
pub mod report;
pub mod verdict;
pub mod watch;
