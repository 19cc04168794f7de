//! Every limit on what input may ask for, its default and why.
