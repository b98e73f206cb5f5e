# Sourced: `left_out WHY` tells what is not checked on this machine. Where everything must be, it fails: `.ci/run` sets
# WHITTLE_TEST_ALL, and tests/support/required.rs reads it alike.
left_out() {
  echo "left out: $*" >&2
  case ${WHITTLE_TEST_ALL:-} in
    '' | 0) ;;
    *)
      echo "WHITTLE_TEST_ALL is set: nothing may be left out" >&2
      return 1
      ;;
  esac
}
