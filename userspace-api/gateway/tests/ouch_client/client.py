"""Nasdaq's own Python framework against our OUCH server: logs in, buys, is filled, and sees it.

Arguments: port, user, password, folder for what the framework generates. Prints what happened, one JSON object a line.
"""

import asyncio
import json
import pathlib
import subprocess
import sys


async def main(port, user, password, folder):
    spec = pathlib.Path(__file__).with_name("ouch50.xml")
    codegen = pathlib.Path(sys.executable).with_name("nasdaq-ouch-codegen")
    subprocess.run(
        [codegen, "--spec-file", spec, "--app-name", "ring0", "--op-dir", folder],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    sys.path.insert(0, folder)
    import ouch_ring0 as ouch

    session = await ouch.connect_async(
        ("127.0.0.1", port), user, password, "", sequence=0, client_heartbeat_interval=1
    )
    print(json.dumps({"connected": True}), flush=True)
    order = ouch.EnterOrder()
    order.user_ref = 1
    order.side = "B"
    order.quantity = 100
    order.symbol = "BTC-USD"
    order.price = 50_000 * 10_000
    order.time_in_force = "0"
    order.display = "Y"
    order.capacity = "P"
    order.intermarket_sweep = "N"
    order.cross_type = "N"
    order.client_order_id = "python"
    order.appendage_length = 0
    session.send_message(order)
    order.user_ref = 2
    order.symbol = "NOSUCH"
    session.send_message(order)
    wanted = {"Accepted", "Executed", "Rejected"}
    while wanted:
        message = await asyncio.wait_for(session.receive_message(), 60)
        name = type(message).__name__
        if name in wanted:
            wanted.remove(name)
            said = {"message": name, "user_ref": message.user_ref}
            if name == "Executed":
                said |= {"quantity": message.quantity, "price": message.price}
            if name == "Rejected":
                said |= {"reason": message.reason}
            print(json.dumps(said), flush=True)
    await session.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]))
