package cdntest_test

import (
	"testing"

	"github.com/deltacdn/delta/internal/testmain"
)

func TestMain(m *testing.M) { testmain.Run(m) }
