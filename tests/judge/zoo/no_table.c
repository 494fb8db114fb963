// expect: symbols
// behind: load_error
// alone
/* Exports something else. */
const int x = 1;
