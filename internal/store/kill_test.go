package store_test

const childEnv = "RUTILE_STORE_CHILD"

func child() int { return 1 }
