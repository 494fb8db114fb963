# schema.sql as a C string literal, comments and blank lines left out. A file of its own: Meson turns the backslashes of
# a command line into slashes.
s/[[:space:]]*--.*$//
/^[[:space:]]*$/d
s/\\/\\\\/g
s/"/\\"/g
s/^/"/
s/$/\\n"/
