package memory_test

import (
	"testing"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/executortest"
	"github.com/evento-go/evento/executor/memory"
)

var config = executortest.Config{
	Open: func(testing.TB) evento.Executor { return memory.New(nil) },
}

func TestContract(t *testing.T) {
	t.Parallel()
	executortest.Test(t, config)
}

func BenchmarkExecutor(b *testing.B) { executortest.Benchmark(b, config) }
