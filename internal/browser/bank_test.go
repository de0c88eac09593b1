package browser

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// bankProgram builds the bank on the web once, and returns the path of the program.
var bankProgram = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bank-web")
	if err != nil {
		return "", err
	}
	built = func() { _ = os.RemoveAll(dir) }
	program := filepath.Join(dir, "bank-web")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", program, "./examples/bank-web")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// built removes the program, when there is one.
var built = func() {}

// startBank runs the bank on the web until the test ends, and returns its address.
func startBank(t *testing.T) string {
	t.Helper()
	needBrowser(t)
	program, err := bankProgram()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), program, "-listen", "127.0.0.1:0", "-traffic", "0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(2*patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || !late.Stop() || t.Failed() {
			t.Errorf("the bank ends with %v, and has logged\n%s", err, log.String())
		}
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if _, address, ok := strings.Cut(lines.Text(), "The bank is open: "); ok {
			return address
		}
	}
	t.Fatal("the bank does not say where it is")
	return ""
}

// fill fills in a field of a form of an account.
func (p *tab) fill(form, field, text string) {
	p.t.Helper()
	if !eval[bool](p, `(() => {
		const e = document.querySelector('form[action$="`+form+`"] input[name=`+field+`]');
		e?.focus(), e?.select();
		return !!e;
	})()`) {
		p.t.Fatalf("there is no field %s of %s; the page says\n%s", field, form, p.text())
	}
	p.do("filling in "+field, chromedp.KeyEvent(text))
}

// balance waits until a page shows a balance.
func (p *tab) balance(amount string) {
	p.t.Helper()
	p.until("waiting for a balance of "+amount, `document.querySelector("dd[data-balance]")?.textContent === "`+amount+`"`)
}

// A newcomer's way through the bank: an account is opened, money moves, open pages follow, what
// was is still there, and the console beside it shows why.
func TestBank(t *testing.T) {
	t.Parallel()
	address := startBank(t)
	p := open(t, address, wide)
	p.says("Alice Adler", "Erin Eriksen")
	p.fill("/accounts", "number", "2001")
	p.fill("/accounts", "owner", "Greta Gold")
	p.click("Open")
	p.says("Account 2001", "Greta Gold")
	account := eval[string](p, `location.href`)

	// Pages that are open follow.
	other, list := open(t, account, narrow), open(t, address, wide)
	other.says("live")
	list.says("live", "Greta Gold")
	inList := func(amount string) {
		t.Helper()
		list.until("waiting for "+amount+" in the list", `[...document.querySelectorAll("[data-account]")].some((r) => r.textContent.includes("Greta Gold") && r.querySelector("[data-balance]").textContent === "`+amount+`")`)
	}
	p.fill("/deposit", "amount", "100")
	p.click("Deposit")
	p.balance("100.00")
	other.balance("100.00")
	other.says("Something new has happened.")
	inList("100.00")

	p.fill("/transfer", "amount", "30.50")
	p.fill("/transfer", "to", "1001")
	p.click("Send")
	other.balance("69.50")
	inList("69.50")
	other.click("Something new has happened")
	other.says("1001", "69.50")

	list.seen(false) // and keeps no connection

	// A form that is sent twice counts once: here when no answer came, and then by two clicks.
	p.visit(account)
	p.fill("/deposit", "amount", "7")
	if status := eval[int](p, `(() => {
		const form = document.querySelector('form[action$="/deposit"]');
		return fetch(form.action, {method: "POST", body: new URLSearchParams(new FormData(form))}).then((r) => r.status);
	})()`); status != 200 {
		t.Errorf("status %d", status)
	}
	other.balance("76.50")
	p.do("clicking twice", chromedp.DoubleClick(`form[action$="/deposit"] button`))
	p.until("waiting for the page", `document.readyState === "complete" && document.querySelector('form[action$="/deposit"] input[name=amount]').value === ""`)
	p.balance("76.50")
	// Who goes back sees how it is now, and a form that asks for nothing.
	p.visit(account)
	p.fill("/deposit", "amount", "8")
	p.click("Deposit")
	p.balance("84.50")
	p.back()
	p.balance("84.50")
	p.click("Deposit") // the field is required
	if amount := eval[string](p, `document.querySelector('form[action$="/deposit"] input:invalid').value`); amount != "" {
		t.Errorf("after going back the form asks for %s", amount)
	}
	p.visit(account)
	p.balance("84.50")

	list.seen(true)
	inList("84.50")

	// What the bank refuses is said where it was typed.
	p.fill("/withdraw", "amount", "1000000")
	p.click("Withdraw")
	p.until("waiting for the refusal", `document.querySelector("[role=alert]") !== null && document.activeElement.name === "amount" && document.activeElement.value === "1000000"`)
	p.check()

	p.visit(account)
	p.click("2")
	p.says("Account 2001 at version 2", "100.00")
	p.check()
	p.do("the version before", chromedp.Click(`a[rel=prev]`))
	p.says("Account 2001 at version 1", "The first version")
	p.do("the version after", chromedp.Click(`a[rel=next]`))
	p.says("Account 2001 at version 2")

	// A statement has pages.
	eval[int](p, `(async () => {
		for (let n = 0; n < 20; n++) {
			const page = new DOMParser().parseFromString(await (await fetch("`+account+`")).text(), "text/html");
			const form = page.querySelector('form[action$="/deposit"]');
			const body = new URLSearchParams({request: form.querySelector("[name=request]").value, amount: "1"});
			await fetch(form.getAttribute("action"), {method: "POST", body});
		}
		return 0;
	})()`)
	p.visit(account)
	p.balance("104.50")
	p.click("Older →")
	p.says("Opened for Greta Gold", "← Newer")
	p.check()
	p.click("← Newer")
	p.until("waiting for the newest page", `!document.body.innerText.includes("Opened for") && document.body.innerText.includes("104.50")`)

	// The console beside it has the events and the states of the account.
	p.click("Console")
	p.says("All is well", "bank-transfers", "bank-balances")
	p.click("MoneyDeposited")
	p.says(`"Amount": 100`, "no event")
	p.click("State at version 26")
	p.says("State at version 26 of 26", "Greta Gold")
}

// Each page of the bank fits into each window, and keeps nobody out.
func TestBankForAll(t *testing.T) {
	t.Parallel()
	address := startBank(t)
	for _, s := range []size{wide, narrow, night} {
		p := open(t, address, s)
		p.check()
		p.click("1001")
		p.says("Alice Adler")
		p.check()
		p.click("transfer sent to")
		p.says("Transfer of 120.00", "It has arrived.")
		p.check()
		p.back()
		p.click("3")
		p.says("Account 1001 at version 3")
		p.check()
		p.visit(address + missing)
		p.says("To the accounts")
		p.check()
		p.visit(address)
		p.click("1004")
		p.says("A frozen account takes money in")
		p.check()
		p.visit(address + "console/aggregates/bank%2FAccount/" + eval[string](p, `document.querySelector("[data-account]").dataset.account`))
		p.says("State at version", "Dan Diallo")
		p.check()
	}
}

// Without scripts the bank does all, but does not change by itself.
func TestBankWithoutScripts(t *testing.T) {
	t.Parallel()
	address := startBank(t)
	p := open(t, address, narrow)
	p.withoutScripts()
	p.visit(address)
	p.fill("/accounts", "number", "2002")
	p.fill("/accounts", "owner", "Hanna Holm")
	p.click("Open")
	p.says("Account 2002", "Hanna Holm")
	p.fill("/deposit", "amount", "50")
	p.click("Deposit")
	p.balance("50.00")
	p.fill("/transfer", "amount", "20")
	p.fill("/transfer", "to", "1002")
	p.click("Send")
	p.says("It has arrived.") // the page of a transfer under way loads itself again
	p.do("following the link", chromedp.Click(`.crumb a[href$="2002"]`))
	p.balance("30.00")
	p.click("Freeze")
	p.says("frozen", "A frozen account takes money in")
	p.click("2")
	p.says("Account 2002 at version 2", "50.00")
}
