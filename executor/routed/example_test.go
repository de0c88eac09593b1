package routed_test

import (
	"context"
	"fmt"

	"github.com/evento-go/evento"
	"github.com/evento-go/evento/executor/memory"
	"github.com/evento-go/evento/executor/routed"
)

// Two tenants of one store, each with a subscription of the same key.
func Example() {
	ctx, store := context.Background(), memory.New(nil)
	for _, key := range []string{"acme", "globex"} {
		tenant, err := routed.New(store, key)
		if err != nil {
			fmt.Println(err)
			return
		}
		for n := range len(key) {
			if _, err := evento.Create().Event(noted{N: n}).Commit(ctx, tenant); err != nil {
				fmt.Println(err)
				return
			}
		}
		handled := 0
		err = evento.NewSubscription("mailer").Handler(evento.Handle(func(context.Context, evento.Event[noted]) error {
			handled++
			return nil
		})).Execute(ctx, tenant)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(tenant.RoutingKey(), "handled", handled)
	}
	all := 0
	for _, err := range evento.Events(ctx, store, evento.Query{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		all++
	}
	fmt.Println(all, "events in the store")
	// Output:
	// acme handled 4
	// globex handled 6
	// 10 events in the store
}
