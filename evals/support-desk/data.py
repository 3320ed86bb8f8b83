"""Support tickets of an invented shop, each with the one queue it belongs to.

Guarantees: same arguments, same rows, in the same order. Held-out rows and training rows share no sentence
that says what the ticket is about, no opening, no closing and no product, so no held-out ticket can be a
training ticket. All names, products and order numbers are invented.
"""

from __future__ import annotations

import random
from typing import Any

QUEUES = ("billing", "shipping", "returns", "account", "technical", "privacy")

_TRAIN_PROBLEMS: dict[str, tuple[str, ...]] = {
    "billing": (
        "my card was charged twice for {product}",
        "the invoice for {product} shows the wrong amount",
        "I was billed after I cancelled my subscription",
        "the discount code was not taken off the total I paid",
        "my payment was declined although my bank says it is fine",
        "I need a receipt with our tax number on it",
        "there is a fee on my statement that I do not recognise",
        "I want to pay by bank transfer instead of by card",
        "the price I paid for {product} is higher than the one advertised",
        "please explain the monthly charge on my credit card",
        "my invoice is missing the company name",
        "why was I charged in another currency",
    ),
    "shipping": (
        "my parcel with {product} has not arrived",
        "the tracking page has shown no movement for six days",
        "I want to change the delivery address of order {order}",
        "the courier left {product} with the wrong neighbour",
        "how long does delivery to an island take",
        "my order {order} was supposed to come on Monday",
        "can you ship {product} by express",
        "the driver said nobody was at home, but I was",
        "the tracking number you sent does not work",
        "half of my order {order} is still on its way",
        "which carrier brings my package",
        "the parcel is stuck at customs",
    ),
    "returns": (
        "I would like to send {product} back",
        "{product} is the wrong colour and I want to exchange it",
        "how do I get a return label for order {order}",
        "I changed my mind and want my money back for {product}",
        "{product} arrived broken and I want a replacement",
        "you sent me the wrong size, please swap it",
        "how many days do I have to return {product}",
        "I sent {product} back two weeks ago and saw no refund",
        "the return label cannot be printed",
        "I want to exchange {product} for another model",
        "may I return {product} without its box",
        "{product} was a gift and I want to give it back",
    ),
    "account": (
        "I forgot my password and the reset mail does not come",
        "I cannot log in since yesterday",
        "please change the e-mail address of my profile",
        "my account is locked after three wrong passwords",
        "I have two accounts and want to merge them",
        "the code for signing in never reaches my phone",
        "how do I change my user name",
        "my login says that the user is unknown",
        "I want to add a colleague to our account",
        "the confirmation link for my registration has expired",
        "how do I turn on two-step sign-in",
        "I lost the phone I use to sign in",
    ),
    "technical": (
        "{product} does not switch on any more",
        "the app crashes when I connect {product}",
        "{product} loses its Bluetooth connection every few minutes",
        "the firmware update of {product} stops at 40 percent",
        "{product} makes a loud noise while running",
        "error E21 appears on the display of {product}",
        "how do I connect {product} to my Wi-Fi",
        "the battery of {product} is empty after one hour",
        "{product} gets very hot while it charges",
        "the sound of {product} is distorted",
        "the app does not find {product}",
        "{product} freezes and needs a restart every day",
    ),
    "privacy": (
        "please delete all personal data you hold about me",
        "I want a copy of the data you store about me",
        "stop sending my data to advertisers",
        "who can see my purchase history",
        "I withdraw my consent to marketing",
        "how long do you keep my personal information",
        "I saw another customer's data in my mails",
        "please remove my name from your mailing list",
        "do you share my phone number with other companies",
        "I object to the profiling of my purchases",
        "which cookies does your site set, and can I refuse them",
        "was my personal data part of the leak in the news",
    ),
}
_TEST_PROBLEMS: dict[str, tuple[str, ...]] = {
    "billing": (
        "I see two charges for the same purchase on my bank statement",
        "the amount on the bill for {product} is not what we agreed",
        "you took a payment for a plan that I ended last month",
        "my voucher was ignored and I paid full price",
        "could you send the invoice for {product} again",
        "my credit card keeps being refused when I pay",
    ),
    "shipping": (
        "where is my package with {product}",
        "order {order} should have been delivered last week",
        "the courier delivered {product} to a wrong address",
        "please send order {order} to my office instead of my home",
        "the tracking of my parcel has not been updated for days",
        "when will {product} be shipped",
    ),
    "returns": (
        "I do not like {product} and want to return it",
        "please swap {product} for a larger size",
        "I need the form to send {product} back to you",
        "{product} was damaged in the box, I want a new one or a refund",
        "I have not had the refund for the item I returned",
        "is it too late to send back {product}",
    ),
    "account": (
        "the password reset link does not work",
        "I am locked out of my account",
        "I want to use another e-mail address for my login",
        "it says my user name or password is wrong",
        "I do not get the verification code when I sign in",
        "please reactivate my old user account",
    ),
    "technical": (
        "{product} will not turn on",
        "{product} keeps disconnecting from my phone",
        "the app shows an error when I pair {product}",
        "{product} stopped working after the last software update",
        "the screen of {product} stays black",
        "{product} does not charge although it is plugged in",
    ),
    "privacy": (
        "erase my personal data from your systems",
        "what personal information do you store about me",
        "I do not want my data to be sold to third parties",
        "send me all the data you have collected about me",
        "I no longer agree to the use of my data for advertising",
        "I worry that strangers can see my personal details",
    ),
}
_TRAIN_PRODUCTS = ("the Kestrel kettle", "my Norra lamp", "the Pico speaker", "my Velo watch", "the Tarn heater",
                   "my Brio headset", "the Lumo camera", "my Arden vacuum")  # fmt: skip
_TEST_PRODUCTS = (
    "the Sorrel toaster",
    "my Quill printer",
    "the Marlow fan",
    "my Fenn tablet",
    "the Osk radio",
)
_TRAIN_OPENINGS = ("Hello, ", "Hi team, ", "", "Good morning, ", "Dear support, ", "Hey, ")
_TEST_OPENINGS = ("Good evening, ", "To whom it may concern: ", "Hi there, ", "Greetings, ")
_TRAIN_CLOSINGS = ("", " Please help.", " Thanks.", " Can you look into it?", " Regards, Ilva")
_TEST_CLOSINGS = (
    " Many thanks.",
    " What should I do?",
    " Best wishes, Oskar",
    " I am waiting for your answer.",
)


def prompt(ticket: str) -> str:
    """Return what the model is asked about `ticket`; the queues' names are for the adapter to have learned."""
    return f"Ticket: {ticket}\nQueue:"


def held_out(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return `rows` held-out tickets, the queues in turn: ``id, prompt, choices, label``."""
    tickets = _tickets(_TEST_PROBLEMS, _TEST_PRODUCTS, _TEST_OPENINGS, _TEST_CLOSINGS, rows, seed)
    return [
        {
            "id": f"ticket-{number:03d}",
            "prompt": prompt(ticket),
            "choices": list(QUEUES),
            "label": QUEUES.index(queue),
        }
        for number, (ticket, queue) in enumerate(tickets)
    ]


def training(source: bytes | None, *, rows: int, seed: int) -> list[dict[str, Any]]:
    """Return `rows` training examples: ``id, prompt, answer, chat``."""
    tickets = _tickets(_TRAIN_PROBLEMS, _TRAIN_PRODUCTS, _TRAIN_OPENINGS, _TRAIN_CLOSINGS, rows, seed)
    return [
        {"id": f"desk-{number:04d}", "prompt": prompt(ticket), "answer": queue, "chat": True}
        for number, (ticket, queue) in enumerate(tickets)
    ]


def _tickets(
    problems: dict[str, tuple[str, ...]],
    products: tuple[str, ...],
    openings: tuple[str, ...],
    closings: tuple[str, ...],
    rows: int,
    seed: int,
) -> list[tuple[str, str]]:
    """Return `rows` distinct tickets with their queue: queues in turn, each queue's problems in turn."""
    rng = random.Random(seed)
    order = {queue: rng.sample(problems[queue], len(problems[queue])) for queue in QUEUES}
    seen: set[str] = set()
    tickets: list[tuple[str, str]] = []
    while len(tickets) < rows:
        queue = QUEUES[len(tickets) % len(QUEUES)]
        turn = order[queue]
        for _ in range(1000):
            problem = turn[len(tickets) // len(QUEUES) % len(turn)]
            problem = problem.format(product=rng.choice(products), order=f"{rng.randrange(10000, 99999)}")
            ticket = f"{rng.choice(openings)}{problem}.{rng.choice(closings)}"
            ticket = ticket[0].upper() + ticket[1:]
            if ticket not in seen:
                break
        else:
            raise ValueError(f"no {rows} distinct tickets can be made")
        seen.add(ticket)
        tickets.append((ticket, queue))
    return tickets
