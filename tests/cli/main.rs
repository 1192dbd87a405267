//! The program from outside, where no kernel is needed for it.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod blocking_page;
#[cfg(test)]
mod changes;
mod check;
#[cfg(test)]
mod old_guide;
#[cfg(test)]
mod recorded;
