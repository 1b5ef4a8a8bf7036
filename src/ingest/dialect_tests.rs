//! Whole files in the vocabularies, each in the ways it is delivered.
