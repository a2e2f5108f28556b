#!/bin/sh
# Stands before a compiler: passes links and questions on, refuses sources.
# @REAL@ is empty where there is none of this name.
log='@LOG@'
real='@REAL@'
refuse() {
  printf 'refused %s: %s\n' "$(basename "$0")" "$1" >>"$log"
  printf 'no-c: %s called with %s: C, C++ and assembler sources are not compiled here\n' "$0" "$1" >&2
  exit 1
}
look_at() {
  case "$1" in
    -c | -S | -E | -x | -x?* | -) refuse "$1" ;;
    -*) ;;
    *.c | *.C | *.cc | *.cp | *.cpp | *.cxx | *.c++ | *.i | *.ii | *.s | *.S | *.sx | *.asm | *.m | *.mm) refuse "$1" ;;
  esac
}
for argument in "$@"; do
  case "$argument" in
    @*)
      # Arguments in a file, one a line, possibly in quotes.
      while IFS= read -r line || [ -n "$line" ]; do
        line=${line#\"}
        look_at "${line%\"}"
      done <"${argument#@}"
      ;;
    *) look_at "$argument" ;;
  esac
done
[ -n "$real" ] || refuse 'anything'
printf 'passed %s\n' "$(basename "$0")" >>"$log"
exec "$real" "$@"
